/**
 * `forkmap conform`: checks a program against docs/protocol.md and reports in sentences what it does wrong. Parses the
 * command line and prints; the checks are in conform/.
 */
import { parseArgs, styleText } from "node:util";
import { holdingLoop } from "../launch/loop-hold.js";
import { excerpt } from "../wire/breach.js";
import { MAX_DELAY_MS } from "../wire/protocol.js";
import { type CliCommand, hasColours, UsageError } from "./cli-command.js";
import { Bench } from "./conform/bench.js";
import type { Verdict } from "./conform/check.js";
import { checksFor, make } from "./conform/checks.js";

const DEFAULT_TIMEOUT_SECONDS = 10;
const MAX_TIMEOUT_SECONDS = Math.floor(MAX_DELAY_MS / 1000);

/** One of each JSON type, and common causes of mistakes: the empty string, quotes, newlines, multi-byte characters. */
const DEFAULT_ITEMS: readonly unknown[] = [
  "forkmap",
  "",
  "He said: \"no\",\n\tand 'yes' \\ äöü, ñ, 日本, 🙂",
  42.5,
  null,
  [1, "two", null, false],
  { name: "Ada", born: { year: 1815, city: "London" }, tags: [] },
];

const HELP = `Usage: forkmap conform [options] -- program [arguments...]

Starts a program, sends it requests as a CommandWorker does, and reports in sentences where it
does not keep to the line protocol (docs/protocol.md).

Options:
  --item JSON        an item to send, such as --item '{"url":"http://localhost"}'; may be
                     given more than once (default: JSON values of every type)
  --timeout SECONDS  how long to wait for an answer (default: ${DEFAULT_TIMEOUT_SECONDS})
  --fibers           also check whether it can answer several requests at once
  --verbose          print all requests and answers, and the program's stderr, to stderr
  --help             print this text

If the program cannot process an item, it has to answer "error". Such an answer is correct.

Prints a line for each check: "ok"; "wrong" and what is wrong; or "note" and what is worth
knowing. The last lines of the program's stderr follow, each after a "|".

Exit code: 0 if the program keeps to the protocol, 1 if it does not, 2 if the checks could
not be run.

Example: forkmap conform -- ruby worker.rb
`;

export const conform: CliCommand = {
  name: "conform",
  summary: "check a program against the line protocol of CommandWorker",
  help: HELP,
  async run(args, signal) {
    const { argv, items, timeout, fibers, isVerbose } = read(args);
    const bench = new Bench({
      command: { argv, env: process.env, cwd: undefined },
      items,
      timeout,
      signal,
      ...(isVerbose ? VERBOSE : {}),
    });
    return await holdingLoop(async () => {
      try {
        await bench.open();
        return await checkAll(bench, fibers);
      } finally {
        await bench.close();
      }
    });
  },
};

const VERBOSE = {
  onSaid: (line: string) => void process.stderr.write(`${line}\n`),
  onStderr: (bytes: Buffer) => void process.stderr.write(Buffer.from(bytes)),
};

async function checkAll(bench: Bench, fibers: boolean): Promise<number> {
  const report = new Report(nameOf(bench.command.argv));
  for (const check of checksFor({ items: bench.items, fibers })) {
    report.add(check.name, await make(check, bench));
  }
  return report.end() ? 0 : 1;
}

const COLOURS = { ok: "green", wrong: "red", note: "yellow" } as const;
const LABEL_WIDTH = 6;

/** Prints a line for each check when it is done; successive checks skipped for the same reason share a line. */
class Report {
  readonly #program: string;
  readonly #isColoured = hasColours(process.stdout);
  #made = 0;
  #wrong = 0;
  #skipped = 0;
  /** The checks skipped last, not yet printed, and the reason. */
  #skips = { count: 0, why: "" };

  constructor(program: string) {
    this.#program = program;
  }

  add(name: string, { level, text, stderr = [], skippedAs }: Verdict): void {
    if (skippedAs !== undefined) {
      if (skippedAs !== this.#skips.why) this.#printSkips();
      this.#skips = { count: this.#skips.count + 1, why: skippedAs };
      this.#skipped += 1;
      return;
    }
    this.#printSkips();
    this.#made += 1;
    if (level === "wrong") this.#wrong += 1;
    this.#print(level, text === undefined ? name : `${name}: ${text}`, stderr);
  }

  /** @returns whether the program keeps to the protocol */
  end(): boolean {
    this.#printSkips();
    const isKept = this.#wrong === 0;
    const skipped = isKept ? checks(this.#skipped) : String(this.#skipped);
    const rest = this.#skipped === 0 ? "" : `, ${skipped} could not be run`;
    const verdict = isKept
      ? "keeps to the protocol"
      : `does not keep to the protocol: ${this.#wrong} of ${checks(this.#made)} failed`;
    process.stdout.write(`${this.#program} ${verdict}${rest}\n`);
    return isKept;
  }

  #printSkips(): void {
    const { count, why } = this.#skips;
    if (count > 0) this.#print("note", `${checks(count)} not run, because ${why}`);
    this.#skips = { count: 0, why: "" };
  }

  #print(level: Verdict["level"], text: string, stderr: readonly string[] = []): void {
    const label = level.padEnd(LABEL_WIDTH);
    const colour = this.#isColoured
      ? styleText(COLOURS[level], label, { validateStream: false })
      : label;
    const lines = stderr.map((each) => `${" ".repeat(LABEL_WIDTH)}| ${each}\n`);
    process.stdout.write(`${colour}${text}\n${lines.join("")}`);
  }
}

function checks(count: number): string {
  return `${count} ${count === 1 ? "check" : "checks"}`;
}

/** The command roughly as the user typed it. */
function nameOf(argv: readonly string[]): string {
  return argv.map((each) => (/^[\w@%+=:,./-]+$/.test(each) ? each : excerpt(each))).join(" ");
}

interface Arguments {
  readonly argv: readonly string[];
  readonly items: readonly unknown[];
  /** In ms. */
  readonly timeout: number;
  readonly fibers: boolean;
  readonly isVerbose: boolean;
}

/** @throws UsageError */
function read(args: readonly string[]): Arguments {
  const at = args.indexOf("--");
  const argv = at === -1 ? [] : args.slice(at + 1);
  const { item, timeout, fibers, verbose } = options(at === -1 ? args : args.slice(0, at));
  if (argv.length === 0 || argv[0] === "") {
    throw new UsageError("expected a program after --, as in -- ruby worker.rb");
  }
  return {
    argv,
    items: item ? item.map((each) => itemOf(each)) : DEFAULT_ITEMS,
    timeout: timeout === undefined ? DEFAULT_TIMEOUT_SECONDS * 1000 : timeoutOf(timeout),
    fibers,
    isVerbose: verbose,
  };
}

function options(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        item: { type: "string", multiple: true },
        timeout: { type: "string" },
        fibers: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
      },
    });
    if (positionals.length === 0) return values;
    throw new UsageError(`expected the program after --, as in -- ${nameOf(positionals)}`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // Only the first sentence: the advice after it does not apply here.
    throw new UsageError((error as Error).message.split(/\.\s/, 1)[0]!.replaceAll("\n", " "));
  }
}

function itemOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new UsageError(`--item ${text} is not JSON (a string needs quotes: '"text"')`);
  }
}

function timeoutOf(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS) return seconds * 1000;
  throw new UsageError(
    `--timeout ${text} is not a number of seconds above 0 and up to ${MAX_TIMEOUT_SECONDS}`,
  );
}
