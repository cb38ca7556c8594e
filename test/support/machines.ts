/** Machines of a test: processes of their own that serve the workers of fixtures/queue/counted.mjs. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fixture, startScript } from "./run-script.js";

export interface Machine {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What it has printed so far. */
  readonly output: () => string;
  /** Sends a signal and waits for its end. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

export interface MachineProgram {
  /** In fixtures/queue/. @defaultValue "machine.mjs" */
  readonly script?: string;
  /** A command that starts Node, such as `ip netns exec`. */
  readonly command?: readonly string[];
}

/** @param options - of `QueueWorker`, by default with two processes and a crashTimeout of 3 s */
export async function startMachine(
  options: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string>> = {},
  { script = "machine.mjs", command = [] }: MachineProgram = {},
): Promise<Machine> {
  const all = { processes: 2, crashTimeout: 3000, ...options };
  const args = [JSON.stringify(all)];
  const child = startScript(fixture(`queue/${script}`), { args, env, command });
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (output += text));
  const exited = once(child, "exit") as Promise<[number | null]>;
  await untilPrinted(child, "serving", () => output);
  return {
    child,
    pid: child.pid!,
    output: () => output,
    async end(signal = "SIGTERM") {
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}

/** Waits until `text` is in the output of a program. @throws Error with its output if it ends before */
export async function untilPrinted(
  child: ChildProcess,
  text: string,
  output: () => string,
): Promise<void> {
  while (!output().includes(text)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`The program ended before it printed "${text}": ${output()}`);
    }
    await Promise.race([
      once(child.stdout!, "data"),
      once(child.stderr!, "data"),
      once(child, "exit"),
    ]);
  }
}

export interface Counts {
  /** For the environment of machines. */
  readonly env: Readonly<Record<string, string>>;
  /** How often each item was begun. */
  read(): Map<string, number>;
  remove(): void;
}

/** A file into which workers write what they begin. */
export function countedItems(): Counts {
  const directory = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-counts-"));
  const file = path.join(directory, "counts");
  writeFileSync(file, "");
  return {
    env: { COUNTS: file },
    read() {
      const counts = new Map<string, number>();
      for (const line of readFileSync(file, "utf8").split("\n")) {
        if (line !== "") counts.set(line, (counts.get(line) ?? 0) + 1);
      }
      return counts;
    },
    remove: () => rmSync(directory, { recursive: true }),
  };
}
