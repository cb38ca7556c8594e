/**
 * An answer of a `CommandWorker`'s program: one line of JSON, checked field by field. What docs/protocol.md does not
 * allow is a `Breach`, whose message says what came and what was expected.
 */
import { isUtf8 } from "node:buffer";
import { Breach, excerpt } from "../../wire/breach.js";
import type { ErrorRecord } from "../../wire/error-record.js";
import type { PayloadKind } from "../../wire/payload.js";
import { MAX_DELAY_MS } from "../../wire/protocol.js";

/**
 * A longer line is refused, and no more of it is buffered: a result of this length belongs in a file. Parsing a line of
 * this length holds up this process for 85 ms when it is one string, and for 320 when it is small objects (Node 20).
 */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** For a "throttled" answer without "retry_after_secs". */
const DEFAULT_RETRY_AFTER_SECS = 60;
const EXCERPT_LENGTH = 100;

export type ProgramAnswer = {
  /** `undefined` if the program left it out. */
  readonly id: string | undefined;
} & (
  | { readonly status: "ok"; readonly result: unknown }
  /** The result is in a file in the program's scratch directory. */
  | { readonly status: "ok"; readonly file: string; readonly kind: PayloadKind }
  | { readonly status: "error"; readonly error: ErrorRecord }
  /** `retryAfter` is in ms. */
  | { readonly status: "throttled"; readonly retryAfter: number }
  | { readonly status: "progress" }
);

/** Returns the breach for a line of more than `MAX_ANSWER_BYTES`. */
export function tooLong(): Breach {
  return new Breach(
    `wrote a line of more than ${MAX_ANSWER_BYTES / 1024 / 1024} MiB: put a long result into a file and answer with "result_file"`,
  );
}

/** @throws Breach when it is not an answer */
export function readAnswer(line: Buffer): ProgramAnswer {
  const answer = parse(line);
  const { id, status } = answer;
  if (id !== undefined && typeof id !== "string") {
    throw new Breach(
      `answered with the "id" ${excerpt(id)}, which has to be a string, as it was sent`,
    );
  }
  switch (status) {
    case "ok":
      return answer["result_file"] === undefined && answer["result_type"] === undefined
        ? { id, status, result: answer["result"] ?? null }
        : { id, status, ...fileOf(answer) };
    case "error":
      return { id, status, error: errorOf(answer) };
    case "throttled":
      return { id, status, retryAfter: retryAfterOf(answer) };
    case "progress":
      if (id === undefined) {
        throw new Breach('wrote a line of "progress" without the "id" of its request');
      }
      return { id, status };
    case undefined:
      throw new Breach(`wrote an object that has no "status": ${beginning(line)}`);
    default:
      throw new Breach(
        `answered with the "status" ${excerpt(status)} where "ok", "error", "throttled" or "progress" is expected`,
      );
  }
}

type Fields = Readonly<Record<string, unknown>>;

function parse(line: Buffer): Fields {
  if (!isUtf8(line)) throw new Breach(`wrote a line that is not UTF-8: ${beginning(line)}`);
  let value: unknown;
  try {
    value = JSON.parse(line.toString());
  } catch {
    throw new Breach(
      `wrote a line that is not JSON: ${beginning(line)} (stdout is for answers only; print everything else to stderr)`,
    );
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new Breach(`wrote a line that is no JSON object: ${beginning(line)}`);
}

function fileOf({ result, result_file: file, result_type: type }: Fields) {
  if (file === undefined) {
    throw new Breach('answered with a "result_type" and no "result_file"');
  }
  if (typeof file !== "string" || file === "" || file.includes("\0")) {
    throw new Breach(`answered with the "result_file" ${excerpt(file)}, which is no path`);
  }
  if (result !== undefined) throw new Breach('answered with both a "result" and a "result_file"');
  if (type !== undefined && type !== "text" && type !== "json" && type !== "bytes") {
    throw new Breach(
      `answered with the "result_type" ${excerpt(type)} where "text", "json" or "bytes" is expected`,
    );
  }
  return { file, kind: type ?? "text" } as const;
}

function errorOf(answer: Fields): ErrorRecord {
  const { id: _, status: __, message, class: name = "Error", stack, ...props } = answer;
  if (typeof message !== "string") {
    throw new Breach(
      `answered "error" with the "message" ${excerpt(message)}, which has to be a string`,
    );
  }
  if (typeof name !== "string" || (stack !== undefined && typeof stack !== "string")) {
    throw new Breach('answered "error" with a "class" or "stack" that is no string');
  }
  const parts = { name, message, stack: stack ?? `${name}: ${message}`, kind: "Error" };
  return { error: { ...parts, props: withoutReserved(props) as never } };
}

/** Removes `name`, `cause` and `errors`: an error has its own. */
function withoutReserved(props: Fields): Fields {
  const { name: _, cause: __, errors: ___, ...rest } = props;
  return rest;
}

function retryAfterOf({ retry_after_secs: seconds = DEFAULT_RETRY_AFTER_SECS }: Fields): number {
  if (typeof seconds === "number" && seconds >= 0 && seconds * 1000 <= MAX_DELAY_MS) {
    return seconds * 1000;
  }
  throw new Breach(
    `answered "throttled" with the "retry_after_secs" ${excerpt(seconds)} where a number from 0 to ${Math.floor(MAX_DELAY_MS / 1000)} is expected`,
  );
}

function beginning(line: Buffer): string {
  return excerpt(line.subarray(0, 4 * EXCERPT_LENGTH));
}
