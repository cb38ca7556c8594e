/**
 * `forkmap conform`: checks a program against docs/protocol.md and says in sentences what it does wrong. Reads its command
 * line and prints; the checks are in conform/.
 */
import { parseArgs, styleText } from "node:util";
import { excerpt } from "../wire/breach.js";
import { holdingLoop } from "../call/loop-hold.js";
import { MAX_DELAY_MS } from "../wire/protocol.js";
import { type CliCommand, hasColours, UsageError } from "./cli-command.js";
import { Bench } from "./conform/bench.js";
import type { Verdict } from "./conform/check.js";
import { checksFor, make } from "./conform/checks.js";

const DEFAULT_TIMEOUT_SECONDS = 10;
const MAX_TIMEOUT_SECONDS = Math.floor(MAX_DELAY_MS / 1000);

/** Of each kind that JSON has, and what is easily got wrong: nothing at all, quotes, newlines, letters of more than a byte. */
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

Starts a program, talks to it as a CommandWorker does, and says in sentences what it does
against the line protocol (docs/protocol.md).

Options:
  --item JSON        an item to try, such as --item '{"url":"http://localhost"}'; may be
                     given more than once (default: JSON values of every kind)
  --timeout SECONDS  for an answer (default: ${DEFAULT_TIMEOUT_SECONDS})
  --fibers           whether it can answer several requests at once, too
  --verbose          shows on stderr what is said, and what comes from the program's stderr
  --help             shows this

A program that cannot do an item has to answer "error": that conforms.

Prints a line for each check: "ok", "wrong" with what is wrong, "note" with what is worth
knowing. Below them are the last lines of the program's stderr, behind a bar.

Exit code: 0 when the program keeps to the protocol, 1 when it does not, 2 when that could
not be found out.

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

/** A line for each check, as it is made; those that cannot be made for the same reason share one. */
class Report {
  readonly #program: string;
  readonly #isColoured = hasColours(process.stdout);
  #made = 0;
  #wrong = 0;
  #skipped = 0;
  /** The last ones, and why. */
  #skips = { count: 0, why: "" };

  constructor(program: string) {
    this.#program = program;
  }

  add(name: string, { level, text, stderr = [], skippedAs }: Verdict): void {
    if (skippedAs !== undefined) {
      if (skippedAs !== this.#skips.why) this.#tellSkips();
      this.#skips = { count: this.#skips.count + 1, why: skippedAs };
      this.#skipped += 1;
      return;
    }
    this.#tellSkips();
    this.#made += 1;
    if (level === "wrong") this.#wrong += 1;
    this.#print(level, text === undefined ? name : `${name}: ${text}`, stderr);
  }

  /** @returns whether the program keeps to the protocol */
  end(): boolean {
    this.#tellSkips();
    const isKept = this.#wrong === 0;
    const skipped = isKept ? checks(this.#skipped) : String(this.#skipped);
    const rest = this.#skipped === 0 ? "" : `, ${skipped} could not be made`;
    const verdict = isKept
      ? "keeps to the protocol"
      : `does not keep to it: ${this.#wrong} of ${checks(this.#made)} failed`;
    process.stdout.write(`${this.#program} ${verdict}${rest}\n`);
    return isKept;
  }

  #tellSkips(): void {
    const { count, why } = this.#skips;
    if (count > 0) this.#print("note", `${checks(count)} not made, as ${why}`);
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

/** As one would type it, nearly. */
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
    throw new UsageError("which program? It comes behind --, as in -- ruby worker.rb");
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
    throw new UsageError(`the program comes behind --, as in -- ${nameOf(positionals)}`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // Its later sentences advise what is of no use here.
    throw new UsageError((error as Error).message.split(/\.\s/, 1)[0]!.replaceAll("\n", " "));
  }
}

function itemOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new UsageError(`--item ${text} is not JSON (a text has to be in quotes: '"text"')`);
  }
}

function timeoutOf(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS) return seconds * 1000;
  throw new UsageError(
    `--timeout ${text} is no number of seconds above 0, up to ${MAX_TIMEOUT_SECONDS}`,
  );
}
