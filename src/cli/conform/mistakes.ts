/** What authors of programs get wrong, and how it is mended, in sentences that go on from "it". */
import { type Breach, excerpt } from "../../wire/breach.js";
import { tooLong } from "../../launch/program/answer.js";
import type { ProgramExit } from "../../launch/program/program-process.js";
import type { Heard, Talk } from "./talk.js";

export const UNASKED =
  "stdout is for answers only, all else goes to stderr (file=sys.stderr, warn, console.error, >&2)";

const FLUSH =
  "flush each answer (Python: print(..., flush=True), Ruby: $stdout.sync = true, Perl: $| = 1, C: fflush(stdout), jq: --unbuffered, sed: -u, others: stdbuf -oL in front of the program)";

/** How it has ended, as in "ended with exit code 1". */
export function wayOf(exit: ProgramExit): string {
  if (!exit.started) return `could not be started: ${exit.error.message}`;
  return exit.signal === null
    ? `ended with exit code ${exit.exitCode}`
    : `was ended by ${exit.signal}`;
}

/**
 * Of a program that can say no more, in the middle of an item.
 *
 * @param isUnread - it had not read the item
 */
export function endingOf(
  over: Exclude<Heard, { kind: "line" | "silence" }>,
  isUnread = false,
): string {
  if (over.kind === "closed") {
    return `has closed its ${over.stream} and lives on: it has to keep both open, or to end`;
  }
  if (over.kind === "flood") {
    return over.isOneLine
      ? tooLong().message
      : "wrote line after line without an end: one request has one answer, on one line";
  }
  if (isUnread) return `${wayOf(over.exit)} before it had read an item`;
  return over.exit.started
    ? `${wayOf(over.exit)} in the middle of the item: a program has to catch what goes wrong, answer "error" with a "message", and go on`
    : wayOf(over.exit);
}

export interface Silence {
  /** In ms, both. */
  readonly timeout: number;
  readonly lastWords: number;
  /** It has told of progress. */
  readonly isWorking: boolean;
}

/** There was no answer in time. Whether it comes when stdin is closed tells why. */
export async function silenceOf(
  talk: Talk,
  { timeout, lastWords, isWorking }: Silence,
): Promise<string> {
  const within = `within ${timeout / 1000} s`;
  const { unfinished } = talk;
  if (unfinished.length > 0) {
    return `wrote ${shown(unfinished)} and no newline after it ${within}: an answer is a line, so end it with "\\n"`;
  }
  talk.endInput();
  const heard = await talk.hear(lastWords);
  if (isWorking) {
    return `wrote "progress" and no answer ${within}: it hangs, or takes longer (then give --timeout)`;
  }
  const late = heard.kind === "line" ? heard.line : talk.unfinished;
  if (late.length > 0) {
    return `gave no answer ${within}, and wrote ${shown(late)} only when its stdin was closed: it keeps its output back, so ${FLUSH}; or it reads all of its input before it answers, and not line by line`;
  }
  return heard.kind === "end"
    ? `gave no answer ${within}, and ${wayOf(heard.exit)} without one when its stdin was closed: it has to write a line for each that it reads`
    : `gave no answer ${within}, nor when its stdin was closed: it hangs, or never reads its stdin (if it only takes longer, give --timeout)`;
}

/**
 * Of lines that are no answers.
 *
 * @param lines - at least one
 * @param breach - what the first is
 * @param isAnswered - the answer came after them
 */
export function mistakeOf(lines: readonly Buffer[], breach: Breach, isAnswered: boolean): string {
  const first = lines[0]!;
  const text = first.toString();
  if (isAnswered && parsed(text) === undefined) {
    const count = lines.length === 1 ? "" : ` (and ${lines.length - 1} more before its answer)`;
    return `printed ${shown(first)}${count} to stdout besides its answer: ${UNASKED}`;
  }
  if (isRequest(parsed(text))) {
    return `sent the request back in place of an answer: ${shown(first)}. An answer is {"id":"1","status":"ok","result":...}, or "status":"error" with a "message"`;
  }
  if (lines.length > 1 && isObject(parsed(lines.join("\n")))) {
    return `wrote its answer on ${lines.length} lines, the first of them ${shown(first)}: an answer is one line, so print its JSON without indentation (jq: -c)`;
  }
  return `${breach.message}${hintOf(first, text)}`;
}

function hintOf(line: Buffer, text: string): string {
  if (text.startsWith("\uFEFF")) return ". Leave out the byte order mark at its beginning";
  if (/^\s*\{\s*'/.test(text)) return ". JSON has double quotes: json.dumps(answer) in Python";
  if (/^\s*\{.*\b(NaN|Infinity)\b/.test(text)) return ". JSON has no NaN and no Infinity";
  if (!line.equals(Buffer.from(text))) return ". Make UTF-8 the encoding of its output";
  return "";
}

const SHOWN_LENGTH = 120;

/** The beginning of a line. JSON is easier to read as it is than within quotes. */
export function shown(line: Buffer): string {
  const text = line.toString();
  if (!/^[[{][^\p{Cc}\uFFFD]*$/u.test(text)) return excerpt(line.subarray(0, 4 * SHOWN_LENGTH));
  return text.length <= SHOWN_LENGTH ? text : `${text.slice(0, SHOWN_LENGTH)}...`;
}

/** `undefined` when it is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** It has what only a request has. */
function isRequest(value: unknown): boolean {
  return isObject(value) && !("status" in value) && ("payload" in value || "item_file" in value);
}
