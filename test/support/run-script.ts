/** Runs a script in a Node process of its own, as a user would, and returns its output. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const running = new Set<ChildProcess>();

// One that goes on when its test has timed out would take the processors from all files that follow. After all tests, since
// some of a file run side by side.
afterAll(async () => {
  const ended = [...running].map((each) => once(each, "exit"));
  for (const each of running) each.kill("SIGKILL");
  await Promise.all(ended);
});

export interface RunOptions {
  readonly args?: readonly string[];
  readonly execArgv?: readonly string[];
  /** A command that starts Node, such as `taskset`. */
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** Starts the script; the test runner's own settings are removed from its environment. */
export function startScript(file: string, options: RunOptions = {}): ChildProcess {
  const { args = [], execArgv = [], command = [], env = {}, ...rest } = options;
  const { NODE_OPTIONS: _options, VITEST: _vitest, NODE_ENV: _env, ...own } = process.env;
  const [program, ...words] = [...command, process.execPath, ...execArgv, file, ...args];
  const child = spawn(program!, words, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...own, ...env },
    ...rest,
  });
  child.once("spawn", () => running.add(child)).once("exit", () => running.delete(child));
  return child;
}

export async function runScript(file: string, options: RunOptions = {}): Promise<Ran> {
  return await outputOf(startScript(file, options));
}

export async function outputOf(child: ChildProcess): Promise<Ran> {
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  return { code, signal, stdout, stderr };
}
