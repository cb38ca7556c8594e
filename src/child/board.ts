/**
 * Memory the fork server shares with its children, a cell for each: there a child notes that it has begun, and its
 * last word. Costs no system call, cannot be torn (the word counts only once the state says so), and outlives the child.
 */
import { type LastWord, MAX_CONCURRENCY } from "../protocol.js";

/** One page, so that a child that says little touches one page of its own. */
export const CELL_BYTES = 4096;
const CELL_WORDS = CELL_BYTES / 4;
const HEADER_BYTES = 8;
/** What a last word may take; a longer one goes to a scratch file. */
export const WORD_BYTES = CELL_BYTES - HEADER_BYTES;
/** A cell for every child that may be alive; virtual memory only (4 MiB) until used. */
export const BOARD_BYTES = MAX_CONCURRENCY * CELL_BYTES;

const NOTHING = 0;
const BEGUN = 1;
const SAID = 2;

export class Board {
  /** Typed arrays rather than a Buffer's methods: each function that runs is a page to copy in every child. */
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  readonly #free: number[] = [];

  constructor(memory: ArrayBuffer, cells: number) {
    this.#words = new Int32Array(memory);
    this.#bytes = Buffer.from(memory);
    for (let cell = cells - 1; cell >= 0; cell -= 1) this.#free.push(cell);
  }

  /** The number of a blank cell, or `undefined` when all are taken. */
  take(): number | undefined {
    const cell = this.#free.pop();
    if (cell !== undefined) this.#words[cell * CELL_WORDS] = NOTHING;
    return cell;
  }

  giveBack(cell: number): void {
    this.#free.push(cell);
  }

  begin(cell: number): void {
    this.#words[cell * CELL_WORDS] = BEGUN;
  }

  /** Notes the last word if it fits; the first one stands. */
  say(cell: number, word: LastWord): boolean {
    const at = cell * CELL_WORDS;
    if (this.#words[at] === SAID) return true;
    const text = JSON.stringify(word);
    if (Buffer.byteLength(text) > WORD_BYTES) return false;
    this.#words[at + 1] = this.#bytes.write(text, cell * CELL_BYTES + HEADER_BYTES);
    this.#words[at] = SAID;
    return true;
  }

  hasBegun(cell: number): boolean {
    return this.#words[cell * CELL_WORDS] !== NOTHING;
  }

  /** The last word, as JSON. */
  word(cell: number): string | undefined {
    if (this.#words[cell * CELL_WORDS] !== SAID) return undefined;
    const start = cell * CELL_BYTES + HEADER_BYTES;
    return this.#bytes.toString("utf8", start, start + this.#words[cell * CELL_WORDS + 1]!);
  }
}
