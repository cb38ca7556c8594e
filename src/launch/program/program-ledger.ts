/**
 * The ledger of a slot whose child is a program, which cannot write one: this process itself records which requests it
 * has written, and what the answers were.
 */
import { monotonic } from "../../system/monotonic.js";
import type { Entry, EntryHandler, Ledger } from "../../wire/ledger.js";

export class ProgramLedger implements Ledger {
  /** Start and end of item s, at 2 * s and the place after it, modulo the length. */
  readonly #times: Float64Array;
  #begun = 0;
  #read = 0;
  #isRecalled = false;
  /** Number and entry of each answer that has not been taken. */
  #entries: [number, Entry][] = [];
  /** Bytes of these answers. */
  #bytes = 0;

  /** @param times - how many items a child may have at once */
  constructor(times: number) {
    this.#times = new Float64Array(2 * times);
  }

  get read(): number {
    return this.#read;
  }

  get isRecalled(): boolean {
    return this.#isRecalled;
  }

  reset(): void {
    this.#begun = 0;
    this.#isRecalled = false;
    this.#entries = [];
    this.#bytes = 0;
  }

  recall(isRecalled: boolean): void {
    this.#isRecalled = isRecalled;
  }

  /** A program has no result buffers. */
  release(): void {}

  begun(): number {
    return this.#begun;
  }

  /** Records that the next item is begun. */
  begin(seq: number): void {
    this.#begun = seq + 1;
    this.#times[this.#placeOf(seq)] = monotonic();
  }

  /** Takes back the last `begin`: the program did not read the item. */
  unbegin(): void {
    this.#begun -= 1;
  }

  /** Records the outcome of an item, and how many bytes its answer had. */
  note(seq: number, entry: Entry, bytes: number): void {
    this.#times[this.#placeOf(seq) + 1] = monotonic();
    this.#entries.push([seq, entry]);
    this.#bytes += bytes;
  }

  beginningOf(seq: number): number {
    return this.startOf(seq);
  }

  take(_from: number, _to: number, handler: EntryHandler): void {
    const entries = this.#entries;
    if (entries.length === 0) return;
    this.#entries = [];
    this.#read = (this.#read + this.#bytes) >>> 0;
    this.#bytes = 0;
    for (const [seq, entry] of entries) handler.entry(seq, entry);
  }

  startOf(seq: number): number {
    return this.#times[this.#placeOf(seq)]!;
  }

  endOf(seq: number): number {
    return this.#times[this.#placeOf(seq) + 1]!;
  }

  #placeOf(seq: number): number {
    return (2 * seq) % this.#times.length;
  }
}
