#!/usr/bin/env node
/**
 * The folder holds the program `forkmap`, each command in a file of its own. Here: the program finds the command that
 * the user named, runs it, and handles exit codes, signals and a closed stdout.
 */
import { readFileSync } from "node:fs";
import { type CliCommand, UsageError } from "./cli-command.js";
import { conform } from "./conform.js";
import { serve } from "./serve.js";

const COMMANDS: readonly CliCommand[] = [conform, serve];

const USAGE_EXIT_CODE = 2;
/** 128 + 13: what a shell reports for a program ended by SIGPIPE. Node ignores SIGPIPE. */
const SIGPIPE_EXIT_CODE = 141;

/** A signal has asked this process to end. */
class Stopped extends Error {
  readonly signal: NodeJS.Signals;
  constructor(signal: NodeJS.Signals) {
    super(`Stopped by ${signal}`);
    this.signal = signal;
  }
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  // Once: a second signal ends this process at once, and a reaper removes what this process leaves.
  process.once(signal, () => stop.abort(new Stopped(signal)));
}
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  stop.abort(new Stopped("SIGPIPE"));
});
// stderr is closed: the error cannot be reported anywhere.
process.stderr.on("error", () => {});

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === "--help" || name === "-h") return print(help());
  if (name === "--version") return print(`${version()}\n`);
  const command = COMMANDS.find((each) => each.name === name);
  if (!command) {
    const names = COMMANDS.map((each) => each.name).join(", ");
    const what =
      name === undefined ? "no command given" : `unknown command ${JSON.stringify(name)}`;
    return complain("forkmap", `${what}: expected ${names}; see forkmap --help`);
  }
  if (asksForHelp(args)) return print(command.help);
  try {
    return await command.run(args, stop.signal);
  } catch (error) {
    if (error instanceof Stopped) return end(error.signal);
    const where = `forkmap ${command.name}`;
    if (!(error instanceof UsageError)) return complain(where, (error as Error).message);
    return complain(where, `${error.message}; see ${where} --help`);
  }
}

/** Arguments after `--` belong to the checked program. */
function asksForHelp(args: readonly string[]): boolean {
  const at = args.indexOf("--");
  const own = at === -1 ? args : args.slice(0, at);
  return own.includes("--help") || own.includes("-h");
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function complain(where: string, message: string): number {
  process.stderr.write(`${where}: ${message}\n`);
  return USAGE_EXIT_CODE;
}

/** Ends this process by the signal itself, so that its parent sees which signal ended it. */
function end(signal: NodeJS.Signals): number {
  if (signal === "SIGPIPE") return SIGPIPE_EXIT_CODE;
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  return 1;
}

function help(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const list = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`).join(
    "",
  );
  return `Usage: forkmap <command> [arguments...]

Commands:
${list}
\`forkmap <command> --help\` describes a command. Options: --help, --version
`;
}

function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
