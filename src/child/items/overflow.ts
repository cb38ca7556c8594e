/**
 * The child's end of the overflow, for results too long for the ledger: a process writes them to files in the scratch
 * directory, a thread posts messages. The parent's ends are launch/overflow.ts and launch/thread/overflow-mail.ts.
 */
import { writeFileSync } from "node:fs";
import type { MessagePort } from "node:worker_threads";
import { endingFile, resultFile, wordFile } from "../../wire/child-files.js";
import { makeDirectory, type Payable, writePayload } from "../../wire/payload.js";
import { ENDING_LETTER, type Letter, type ResultPlace, type Start } from "../../wire/protocol.js";
import type { LedgerWriter } from "./ledger-writer.js";
import { ResultBuffers } from "./result-buffers.js";

/** Taken before user code can change it: this process must not make the directory as another user than the parent. */
const user = process.geteuid?.();

export interface OverflowWriter {
  /** @throws when the result cannot be written */
  result(seq: number, payable: Payable): ResultPlace;
  /** Writes the outcome of an item, as JSON; `false` if that fails. */
  word(seq: number, json: string): boolean;
  /** Writes why the child ends, as JSON; `false` if that fails. */
  ending(json: string): boolean;
}

export class OverflowFileWriter implements OverflowWriter {
  readonly #start: Start;
  readonly #buffers: ResultBuffers | undefined;
  #hasDirectory = false;

  constructor(start: Start, ledger: LedgerWriter) {
    this.#start = start;
    // A child with one item would use a buffer only once.
    if (!start.payload) this.#buffers = new ResultBuffers(start, ledger);
  }

  result(seq: number, payable: Payable): ResultPlace {
    this.#makeDirectory();
    const written = this.#buffers?.put(payable);
    return written ?? writePayload(resultFile(this.#start, seq), payable);
  }

  word(seq: number, json: string): boolean {
    return this.#isWritten(wordFile(this.#start, seq), json);
  }

  ending(json: string): boolean {
    return this.#isWritten(endingFile(this.#start), json);
  }

  #isWritten(file: string, text: string): boolean {
    try {
      this.#makeDirectory();
      writeFileSync(file, text, { flag: "wx", mode: 0o600 });
      return true;
    } catch {
      return false;
    }
  }

  #makeDirectory(): void {
    if (!this.#hasDirectory) makeDirectory(this.#start.directory, user);
    this.#hasDirectory = true;
  }
}

export class OverflowPoster implements OverflowWriter {
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  result(seq: number, { kind, data }: Payable): ResultPlace {
    if (typeof data === "string") {
      this.#post({ about: seq, value: data });
    } else {
      // A copy, as the worker may go on using its bytes. The copy is transferred, not copied again.
      const value = kind === "advanced" ? data : new Uint8Array(data);
      this.#post({ about: seq, value }, value.buffer as ArrayBuffer);
    }
    return { kind, size: data.length };
  }

  word(seq: number, json: string): boolean {
    this.#post({ about: seq, value: json });
    return true;
  }

  ending(json: string): boolean {
    this.#post({ about: ENDING_LETTER, value: json });
    return true;
  }

  #post(letter: Letter, ...transfer: ArrayBuffer[]): void {
    this.#port.postMessage(letter, transfer);
  }
}
