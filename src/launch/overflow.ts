/**
 * What a child left that is too long for its ledger, seen from the parent: results, what became of an item, why the child
 * ended. Where that lies is the start method's business: processes leave it in files of the scratch directory.
 */
import { readFileSync, rmSync } from "node:fs";
import { type PayloadKind, takePayload } from "../payload.js";
import { endingFile, resultFile, type Start, wordFile } from "../protocol.js";

/** Of one child; each thing can be had once. */
export interface Overflow {
  /** The result of an item; a promise of it when it takes time to read. */
  takeResult(seq: number, kind: PayloadKind, size: number): unknown;
  /** What became of an item, as JSON. */
  takeWord(seq: number): string;
  /** Why the child ended, as JSON. */
  takeEnding(): string;
  /** Forgets what an item may have left of which the ledger says nothing. */
  discard(seq: number): void;
}

export class OverflowFiles implements Overflow {
  readonly #start: Start;

  constructor(start: Start) {
    this.#start = start;
  }

  takeResult(seq: number, kind: PayloadKind, size: number): unknown {
    return takePayload(resultFile(this.#start, seq), kind, size);
  }

  takeWord(seq: number): string {
    return takeText(wordFile(this.#start, seq));
  }

  takeEnding(): string {
    return takeText(endingFile(this.#start));
  }

  discard(seq: number): void {
    for (const file of [resultFile(this.#start, seq), wordFile(this.#start, seq)]) {
      rmSync(file, { force: true });
    }
  }
}

function takeText(file: string): string {
  const text = readFileSync(file, "utf8");
  rmSync(file);
  return text;
}
