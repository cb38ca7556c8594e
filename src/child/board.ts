/**
 * Memory the fork server shares with its children, a cell for each: there a child notes that it has begun, and its
 * last word. Costs no system call, cannot be torn (the word counts only once the state says so), and outlives the child.
 */
import type { LastWord } from "../protocol.js";

/** One page, so that a child that says little touches one page of its own. */
export const CELL_BYTES = 4096;
const HEADER_BYTES = 8;
/** What a last word may take; a longer one goes to a scratch file. */
export const WORD_BYTES = CELL_BYTES - HEADER_BYTES;
/** Children alive at once; virtual memory only (4 MiB) until used. */
export const CELL_COUNT = 1024;
export const BOARD_BYTES = CELL_COUNT * CELL_BYTES;

const NOTHING = 0;
const BEGUN = 1;
const SAID = 2;

export class Board {
  readonly #bytes: Buffer;
  readonly #free: number[] = [];

  constructor(memory: ArrayBuffer, cells: number) {
    this.#bytes = Buffer.from(memory);
    for (let cell = cells - 1; cell >= 0; cell -= 1) this.#free.push(cell);
  }

  /** The number of a blank cell, or `undefined` when all are taken. */
  take(): number | undefined {
    const cell = this.#free.pop();
    if (cell !== undefined) this.#bytes.writeInt32LE(NOTHING, cell * CELL_BYTES);
    return cell;
  }

  giveBack(cell: number): void {
    this.#free.push(cell);
  }

  begin(cell: number): void {
    this.#bytes.writeInt32LE(BEGUN, cell * CELL_BYTES);
  }

  /** Notes the last word if it fits; the first one stands. */
  say(cell: number, word: LastWord): boolean {
    const at = cell * CELL_BYTES;
    if (this.#bytes.readInt32LE(at) === SAID) return true;
    const text = JSON.stringify(word);
    if (Buffer.byteLength(text) > WORD_BYTES) return false;
    const length = this.#bytes.write(text, at + HEADER_BYTES);
    this.#bytes.writeInt32LE(length, at + 4);
    this.#bytes.writeInt32LE(SAID, at);
    return true;
  }

  hasBegun(cell: number): boolean {
    return this.#bytes.readInt32LE(cell * CELL_BYTES) !== NOTHING;
  }

  /** The last word, as JSON. */
  word(cell: number): string | undefined {
    const at = cell * CELL_BYTES;
    if (this.#bytes.readInt32LE(at) !== SAID) return undefined;
    const length = this.#bytes.readInt32LE(at + 4);
    return this.#bytes.toString("utf8", at + HEADER_BYTES, at + HEADER_BYTES + length);
  }
}
