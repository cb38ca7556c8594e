/**
 * What is too long for the ledger, on its way out of a child: into files of the scratch directory, or out of a thread as
 * messages. The other ends are launch/overflow.ts and launch/overflow-mail.ts.
 */
import { writeFileSync } from "node:fs";
import type { MessagePort } from "node:worker_threads";
import { writeBytes, writeJson, type Written, writeText } from "../payload.js";
import {
  ENDING_LETTER,
  endingFile,
  type Letter,
  resultFile,
  type Start,
  wordFile,
} from "../protocol.js";

export interface OverflowWriter {
  /** @throws when it cannot be written, as do the next two */
  text(seq: number, text: string): Written;
  bytes(seq: number, bytes: Uint8Array): Written;
  json(seq: number, json: string): Written;
  /** What became of an item, as JSON; `false` when it cannot be written. */
  word(seq: number, json: string): boolean;
  /** Why the child ends, as JSON; `false` when it cannot be written. */
  ending(json: string): boolean;
}

export class OverflowFileWriter implements OverflowWriter {
  readonly #start: Start;

  constructor(start: Start) {
    this.#start = start;
  }

  text(seq: number, text: string): Written {
    return writeText(resultFile(this.#start, seq), text);
  }

  bytes(seq: number, bytes: Uint8Array): Written {
    return writeBytes(resultFile(this.#start, seq), bytes);
  }

  json(seq: number, json: string): Written {
    return writeJson(resultFile(this.#start, seq), json);
  }

  word(seq: number, json: string): boolean {
    return isWritten(wordFile(this.#start, seq), json);
  }

  ending(json: string): boolean {
    return isWritten(endingFile(this.#start), json);
  }
}

export class OverflowPoster implements OverflowWriter {
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  text(seq: number, text: string): Written {
    this.#post({ about: seq, value: text });
    return { kind: "text", size: text.length };
  }

  /** A copy: the worker may go on using its own. It is handed over whole, not copied again. */
  bytes(seq: number, bytes: Uint8Array): Written {
    const copy = new Uint8Array(bytes);
    this.#post({ about: seq, value: copy }, copy.buffer);
    return { kind: "bytes", size: copy.length };
  }

  json(seq: number, json: string): Written {
    this.#post({ about: seq, value: json });
    return { kind: "json", size: json.length };
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

function isWritten(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: "wx", mode: 0o600 });
    return true;
  } catch {
    return false;
  }
}
