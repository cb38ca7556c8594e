/**
 * Sends the outcome of an item to the parent: in the ledger if it is short, else through the overflow, with an entry in
 * the ledger that refers to it.
 */
import { areGone, GONE, isBytes } from "../../system/bytes.js";
import { describe } from "../../system/describe.js";
import { stringify } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import { recordError, shortRecord } from "../../wire/error-record.js";
import { isBrief } from "../../wire/items.js";
import { jsonProblem } from "../../wire/json-value.js";
import { type Payable, payableText } from "../../wire/payload.js";
import { payableBytes, shortBytes } from "../../wire/short-bytes.js";
import type { Ending, LastWord } from "../../wire/protocol.js";
import { cloneProblem, problemOfClone, serialize } from "../../wire/structured-clone.js";
import { refused } from "../../wire/value-check.js";
import { problemOfThrown, type ValueProblem } from "../../wire/value-problem.js";
import type { ResultFormat } from "../../worker/check-worker.js";
import type { LedgerWriter } from "./ledger-writer.js";
import type { OverflowWriter } from "./overflow.js";
import type { Ending as ProcessEnding } from "./watch-exit.js";

/** Imports a CommonJS package, which takes some 6 ms: loaded only in children of workers whose results are sorted. */
let stableJson: { readonly stableStringify: (value: unknown) => string } | undefined;

/** Must be called before a `Notes` of a worker with sorted results is used. */
export async function prepareForJson(): Promise<void> {
  stableJson ??= await import("../../wire/stable-json.js");
}

/** An error is cut to this length if neither the ledger nor the overflow can take it whole. */
const SHORT_ERROR_BYTES = 2048;

export class Notes {
  readonly #ledger: LedgerWriter;
  readonly #overflow: OverflowWriter;
  readonly #format: ResultFormat;

  constructor(ledger: LedgerWriter, overflow: OverflowWriter, format: ResultFormat) {
    this.#ledger = ledger;
    this.#overflow = overflow;
    this.#format = format;
  }

  /** Records an item whose result is not wanted. Like `result` and `error`, returns the time when the item was done. */
  nothing(seq: number): number {
    const now = monotonic();
    this.#ledger.finish(seq, '""', now);
    return now;
  }

  /** @throws when the result cannot be written, as on a full disk */
  result(seq: number, result: unknown): number {
    const now = monotonic();
    if (typeof result === "string") {
      if (this.#ledger.finishText(seq, result, now)) return now;
      return this.#elsewhere(seq, payableText(result));
    }
    if (isBytes(result)) {
      if (areGone(result)) return this.#mistyped(seq, `${describe(result)} ${GONE}`, now);
      return this.#bytes(seq, payableBytes(result, this.#format), now);
    }
    if (this.#format === "json") return this.#json(seq, result, now);
    if (this.#format === "advanced") return this.#clone(seq, result, now);
    return this.#mistyped(seq, describe(result), now);
  }

  error(seq: number, thrown: unknown): number {
    const now = monotonic();
    const error = recordError(thrown);
    return this.#long(seq, { status: "error", error }, now, () => ({
      status: "error",
      error: shortRecord(error, SHORT_ERROR_BYTES),
    }));
  }

  /** Records that the process or thread ends before its item is done. */
  cutShort(how: ProcessEnding): void {
    this.ending(how.how === "uncaught" ? { ...how, error: recordError(how.error) } : how);
  }

  /** Records why the child ends. */
  ending(ending: Ending): void {
    const text = stringify(ending);
    if (this.#ledger.end(text)) return;
    if ("error" in ending && !this.#overflow.ending(text)) {
      const error = shortRecord(ending.error, SHORT_ERROR_BYTES);
      if (this.#ledger.end(stringify({ ...ending, error }))) return;
    }
    this.#ledger.end('{"how":"elsewhere"}');
  }

  #json(seq: number, result: unknown, now: number): number {
    let problem = jsonProblem(result);
    let json = "";
    try {
      if (!problem) json = (stableJson?.stableStringify ?? stringify)(result);
    } catch (error) {
      // Needs more stack than `jsonProblem`, and may overflow it.
      problem = problemOfThrown(error);
    }
    if (problem) return this.#refuse(seq, result, problem, now);
    if (this.#ledger.finish(seq, `[${json}]`, now)) return now;
    return this.#elsewhere(seq, { kind: "json", data: json });
  }

  #clone(seq: number, result: unknown, now: number): number {
    if (isBrief(result)) {
      this.#ledger.finish(seq, `[${stringify(result)}]`, now);
      return now;
    }
    const problem = cloneProblem(result);
    if (problem) return this.#refuse(seq, result, problem, now);
    let data: Uint8Array;
    try {
      data = serialize(result);
    } catch (error) {
      return this.#refuse(seq, result, problemOfClone(error), now);
    }
    return this.#bytes(seq, { kind: "advanced", data }, now);
  }

  #bytes(seq: number, payable: Payable, now: number): number {
    const short = shortBytes(payable);
    const word = short && stringify({ status: "ok", ...short } satisfies LastWord);
    if (word !== undefined && this.#ledger.finish(seq, word, now)) return now;
    return this.#elsewhere(seq, payable);
  }

  #refuse(seq: number, result: unknown, problem: ValueProblem, now: number): number {
    // Thrown by the value's own code, such as a `toJSON`: an error of the worker, with a stack that says where.
    if (problem.thrown) return this.error(seq, problem.thrown.error);
    const serialization = this.#format === "json" ? "json" : "advanced";
    return this.#mistyped(seq, refused(result, problem, serialization), now);
  }

  #mistyped(seq: number, got: string, now: number): number {
    return this.#long(seq, { status: "mistyped", got }, now, () => ({
      status: "mistyped",
      got: got.slice(0, SHORT_ERROR_BYTES),
    }));
  }

  /** Records a word that may be too long for the ledger; `cut` shortens it if the overflow fails. */
  #long(seq: number, word: LastWord, now: number, cut: () => LastWord): number {
    const json = stringify(word);
    if (this.#ledger.finish(seq, json, now)) return now;
    if (!this.#overflow.word(seq, json)) {
      if (this.#ledger.finish(seq, stringify(cut()), now)) return now;
    }
    return this.#word(seq, '{"status":"elsewhere"}', now);
  }

  #elsewhere(seq: number, payable: Payable): number {
    const { kind, size, buffer } = this.#overflow.result(seq, payable);
    const place = buffer === undefined ? "" : `,"buffer":${buffer}`;
    return this.#word(seq, `{"status":"ok","kind":"${kind}","size":${size}${place}}`, monotonic());
  }

  #word(seq: number, word: string, now: number): number {
    this.#ledger.finish(seq, word, now);
    return now;
  }
}
