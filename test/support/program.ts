/** Runs a program of fixtures/programs in a Node process of its own. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";
import "./leftovers.js";

export interface Program {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<{
    code: number | null;
    signal: string | null;
    stdout: string;
    stderr: string;
  }>;
}

const running = new Set<Program>();

export function program(
  name: string,
  args: readonly string[] = [],
  flags: readonly string[] = [],
): Program {
  const file = fileURLToPath(new URL(`../fixtures/programs/${name}`, import.meta.url));
  const child = spawn(process.execPath, [...flags, file, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => (text[name] += chunk));
  }
  const started: Program = {
    pid: child.pid!,
    kill: (signal) => void child.kill(signal),
    ended: new Promise((resolve) => {
      child.once("close", (code, signal) => {
        running.delete(started);
        resolve({ code, signal, ...text });
      });
    }),
  };
  running.add(started);
  return started;
}

afterEach(async () => {
  for (const each of running) {
    each.kill("SIGKILL");
    await each.ended;
  }
});
