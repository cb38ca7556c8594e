/** Checks of the start: the program can be started, and writes nothing to stdout until it has an item. */
import { LaunchError } from "../../errors.js";
import { checkProgram } from "../../launch/program/find-program.js";
import type { Bench } from "./bench.js";
import { type Check, OK, type Verdict, wrong } from "./check.js";
import { shown, UNASKED, wayOf } from "./mistakes.js";
import { ask, hasFailed, payload } from "./reply.js";
import type { Talk } from "./talk.js";

/** How long to wait for output before the first request: for the first line, and for each next line. */
const QUIET_MS = 500;
const NEXT_LINE_MS = 200;
/** Limit for the first answer: if a program takes longer than `QUIET_MS` to start, its banner comes with it. */
const FIRST_ANSWER_MS = 3000;
/** Node reports at once that a program could not be started; this is only a limit. */
const START_MS = 5000;
const MOST_LINES = 100;

export const canBeStarted: Check = {
  name: "can be started",
  async run(bench) {
    try {
      checkProgram(bench.command);
    } catch (error) {
      bench.obstacle = "it cannot be started";
      const { message } = error as Error;
      return wrong(
        error instanceof LaunchError
          ? onCommandLine(message)
          : `the current directory cannot be used: ${message}`,
      );
    }
    const talk = bench.start();
    try {
      if (talk.pid !== undefined) return OK;
      bench.obstacle = "it cannot be started";
      const exit = await talk.ended(START_MS);
      return wrong(exit && !exit.started ? reasonOf(exit.error) : "it was not started in time");
    } finally {
      await bench.end(talk);
    }
  },
};

export const waitsQuietly: Check = {
  name: "waits quietly for its first item",
  needs: "program",
  async run(bench) {
    const talk = bench.start();
    try {
      return (await beforeFirstItem(bench, talk)) ?? (await withFirstAnswer(bench, talk));
    } finally {
      await bench.end(talk);
    }
  },
};

/** Removes the mention of `argv`: the user of the command line has no such option. */
function onCommandLine(message: string): string {
  return message.replace(" of a CommandWorker", "").replace(" in `argv`", "");
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case "ENOENT":
      return "the interpreter in its first line (#!) does not exist: install it, or correct that line";
    case "ENOEXEC":
      return "it is neither a program for this machine nor a script that begins with #!";
    default:
      return message;
  }
}

async function beforeFirstItem(bench: Bench, talk: Talk): Promise<Verdict | undefined> {
  const heard = await talk.hear(QUIET_MS);
  switch (heard.kind) {
    case "silence":
      if (talk.unfinished.length === 0) return undefined;
      return wrong(
        `it wrote ${shown(talk.unfinished)} without a newline (a prompt?) before it was sent a request: ${UNASKED}`,
        talk.stderr,
      );
    case "line": {
      let lines = 1;
      let next = await talk.hear(NEXT_LINE_MS);
      for (; next.kind === "line" && lines < MOST_LINES; lines += 1) {
        next = await talk.hear(NEXT_LINE_MS);
      }
      bench.banner = lines;
      if (next.kind === "flood" || lines === MOST_LINES) bench.obstacle = "it never stops writing";
      return wrong(printed(heard.line, lines), talk.stderr);
    }
    case "end":
      bench.obstacle = "it does not wait for an item";
      return wrong(`it ${wayOf(heard.exit)} before it had read an item: ${SERVE}`, talk.stderr);
    case "closed":
      bench.obstacle = `it closes its ${heard.stream}`;
      return wrong(
        `it closed its ${heard.stream} before it was sent an item, and is still running: it has to keep both stdin and stdout open`,
        talk.stderr,
      );
    default:
      bench.obstacle = "it never stops writing";
      return wrong(`it writes without end before it is sent a request: ${UNASKED}`);
  }
}

const SERVE = "it has to read its stdin line by line, until stdin ends";

/** A slow start: what the program prints at its start comes with its first answer, and not with the second. */
async function withFirstAnswer(bench: Bench, talk: Talk): Promise<Verdict> {
  const request = payload(bench.items[0]);
  const patience = Math.min(bench.timeout, FIRST_ANSWER_MS);
  // If there is no answer, another check reports why.
  const first = await ask(talk, request, patience, 0);
  if (!hasFailed(first)) return OK;
  if (first.isUnread) {
    bench.obstacle = "it does not wait for an item";
    return wrong(`it ${first.problem}: ${SERVE}`, first.stderr);
  }
  if (first.aside === 0) return OK;
  const second = await ask(talk, request, patience, 0);
  // The program prints this for each item: the checks of the items report it.
  if (hasFailed(second) && second.aside > 0) return OK;
  bench.banner = first.aside;
  return wrong(`it ${first.problem}. It did this only when it started`, first.stderr);
}

function printed(line: Buffer, lines: number): string {
  const more = lines === 1 ? "" : ` and ${lines - 1} more lines`;
  return `it printed ${shown(line)}${more} to stdout before it was sent a request: ${UNASKED}`;
}
