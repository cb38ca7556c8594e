/**
 * The locks that a process holds, in memory that its main loop shares with the thread of lock-keeper.ts: there are two changes for each job, and a
 * message for each would take 17 µs in either thread.
 *
 *   entry: | state: 0 free, else a number that no other lock had | length | queue NUL id NUL token, in UTF-8 |
 */
import type { HeldLock } from "./lock-extender.js";

const ENTRY_BYTES = 256;
const HEAD_BYTES = 8;

export class LockTable {
  readonly buffer: SharedArrayBuffer;
  readonly #heads: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #free: number[];
  readonly #encoder = new TextEncoder();
  #last = 0;

  /** @param memory - how many locks there may be, or the `buffer` of another thread's table */
  constructor(memory: number | SharedArrayBuffer) {
    this.buffer = typeof memory === "number" ? new SharedArrayBuffer(memory * ENTRY_BYTES) : memory;
    this.#heads = new Int32Array(this.buffer);
    this.#bytes = new Uint8Array(this.buffer);
    this.#free = Array.from({ length: this.buffer.byteLength / ENTRY_BYTES }, (_, place) => place);
  }

  /** Returns the place of the lock; `undefined` if it is too long, or the table is full. */
  add({ queue, id, token }: HeldLock): number | undefined {
    const place = this.#free.pop();
    if (place === undefined) return undefined;
    const start = place * ENTRY_BYTES;
    const text = `${queue}\0${id}\0${token}`;
    const room = this.#bytes.subarray(start + HEAD_BYTES, start + ENTRY_BYTES);
    const { read, written } = this.#encoder.encodeInto(text, room);
    if (read < text.length) {
      this.#free.push(place);
      return undefined;
    }
    this.#heads[start / 4 + 1] = written;
    this.#last = (this.#last % MAX_STATE) + 1;
    // Last: what the other thread finds in use is complete.
    Atomics.store(this.#heads, start / 4, this.#last);
    return place;
  }

  remove(place: number): void {
    Atomics.store(this.#heads, (place * ENTRY_BYTES) / 4, 0);
    this.#free.push(place);
  }

  /** For the other thread: returns all locks but those that change at this moment, which are new. */
  read(): HeldLock[] {
    const locks: HeldLock[] = [];
    for (let start = 0; start < this.#bytes.length; start += ENTRY_BYTES) {
      const state = Atomics.load(this.#heads, start / 4);
      if (state === 0) continue;
      const from = start + HEAD_BYTES;
      const text = Buffer.from(this.#bytes.slice(from, from + this.#heads[start / 4 + 1]!));
      if (Atomics.load(this.#heads, start / 4) !== state) continue;
      const [queue, id, token] = text.toString().split("\0");
      locks.push({ queue: queue!, id: id!, token: token! });
    }
    return locks;
  }
}

const MAX_STATE = 2 ** 31 - 2;
