/** The mistakes of programs and how to correct them, in sentences that continue "it". */
import { tooLong } from "../../launch/program/answer.js";
import type { ProgramExit } from "../../launch/program/program-process.js";
import { type Breach, excerpt } from "../../wire/breach.js";
import type { Heard, Talk } from "./talk.js";

export const UNASKED =
  "stdout is for answers only; print everything else to stderr (file=sys.stderr, warn, console.error, >&2)";

const FLUSH =
  "flush each answer (Python: print(..., flush=True), Ruby: $stdout.sync = true, Perl: $| = 1, C: fflush(stdout), jq: --unbuffered, sed: -u, others: stdbuf -oL in front of the program)";

/** How the program ended, as in "ended with exit code 1". */
export function wayOf(exit: ProgramExit): string {
  if (!exit.started) return `could not be started: ${exit.error.message}`;
  return exit.signal === null
    ? `ended with exit code ${exit.exitCode}`
    : `was ended by ${exit.signal}`;
}

/**
 * The mistake of a program that ended, closed a stream or flooded its output in the middle of an item.
 *
 * @param isUnread - the program had not read the item
 */
export function endingOf(
  over: Exclude<Heard, { kind: "line" | "silence" }>,
  isUnread = false,
): string {
  if (over.kind === "closed") {
    return `closed its ${over.stream} and is still running: it has to keep both stdin and stdout open, or end`;
  }
  if (over.kind === "flood") {
    return over.isOneLine
      ? tooLong().message
      : "did not stop writing lines: one request has one answer, on one line";
  }
  if (isUnread) return `${wayOf(over.exit)} before it had read an item`;
  return over.exit.started
    ? `${wayOf(over.exit)} in the middle of the item: it has to catch every error, answer "error" with a "message", and read the next line`
    : wayOf(over.exit);
}

export interface Silence {
  /** Both in ms. */
  readonly timeout: number;
  readonly lastWords: number;
  /** The program has reported progress. */
  readonly isWorking: boolean;
}

/** The mistake of a program that gave no answer in time. Closes its stdin: if the answer then comes, that shows why. */
export async function silenceOf(
  talk: Talk,
  { timeout, lastWords, isWorking }: Silence,
): Promise<string> {
  const within = `within ${timeout / 1000} s`;
  const { unfinished } = talk;
  if (unfinished.length > 0) {
    return `wrote ${shown(unfinished)} and no newline after it ${within}: an answer is one line, so end it with "\\n"`;
  }
  talk.endInput();
  const heard = await talk.hear(lastWords);
  if (isWorking) {
    return `wrote "progress" and no answer ${within}: it hangs, or needs more time (then use --timeout)`;
  }
  const late = heard.kind === "line" ? heard.line : talk.unfinished;
  if (late.length > 0) {
    return `gave no answer ${within}, and wrote ${shown(late)} only when its stdin was closed: either its output is buffered, so ${FLUSH}; or it reads all of its input before it answers, and has to read and answer line by line`;
  }
  return heard.kind === "end"
    ? `gave no answer ${within}, and ${wayOf(heard.exit)} without one when its stdin was closed: it has to write one line for each line that it reads`
    : `gave no answer ${within}, nor when its stdin was closed: it hangs, or never reads its stdin (if it only needs more time, use --timeout)`;
}

/**
 * The mistake of lines that are not answers.
 *
 * @param lines - at least one
 * @param breach - what is wrong with the first
 * @param isAnswered - the answer came after these lines
 */
export function mistakeOf(lines: readonly Buffer[], breach: Breach, isAnswered: boolean): string {
  const first = lines[0]!;
  const text = first.toString();
  if (isAnswered && parsed(text) === undefined) {
    const count =
      lines.length === 1 ? "" : ` (and ${lines.length - 1} more lines before its answer)`;
    return `printed ${shown(first)}${count} to stdout besides its answer: ${UNASKED}`;
  }
  if (isRequest(parsed(text))) {
    return `sent the request back instead of an answer: ${shown(first)}. An answer is {"id":"1","status":"ok","result":...}, or "status":"error" with a "message"`;
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
  if (!line.equals(Buffer.from(text))) return ". Set the encoding of its output to UTF-8";
  return "";
}

const SHOWN_LENGTH = 120;

/** The beginning of a line for a message: JSON as it is, which is easier to read, anything else in quotes. */
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

/** Whether `value` has the fields of a request. */
function isRequest(value: unknown): boolean {
  return isObject(value) && !("status" in value) && ("payload" in value || "item_file" in value);
}
