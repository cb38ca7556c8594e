/**
 * Marks in the output of a child with many items where the output of another item begins, see wire/output-mark.ts. With
 * one item at a time, all output of the child belongs to the item begun last. With several, what JavaScript prints
 * through `process.stdout`, `process.stderr` or `console` belongs to the item that printed it; any other output, to the
 * item that was begun or has printed last.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { MarkEncoder } from "../../wire/output-mark.js";
import { setBeforeWrite, type StdioFd, writeFully } from "./stdio.js";

/** Replaces the seq of an item that has ended: its later output sets no mark. */
const OVER = -1;

export class OutputMarks {
  readonly #encoder: MarkEncoder;
  /** The item that the next bytes belong to, by descriptor. */
  readonly #current: Record<StdioFd, number> = { 1: OVER, 2: OVER };
  #items: AsyncLocalStorage<{ seq: number }> | undefined;
  readonly #running = new Map<number, { seq: number }>();

  constructor(mark: string) {
    this.#encoder = new MarkEncoder(mark);
  }

  begin(seq: number): void {
    this.#turnTo(1, seq);
    this.#turnTo(2, seq);
  }

  /** Runs an item concurrently with others. */
  among<T>(seq: number, run: () => T): T {
    const item = { seq };
    this.#running.set(seq, item);
    return this.#storage().run(item, run);
  }

  end(seq: number): void {
    const item = this.#running.get(seq);
    if (!item) return;
    item.seq = OVER;
    this.#running.delete(seq);
  }

  #storage(): AsyncLocalStorage<{ seq: number }> {
    if (this.#items) return this.#items;
    const items = (this.#items = new AsyncLocalStorage());
    setBeforeWrite((fd) => {
      const item = items.getStore();
      if (item && item.seq !== OVER) this.#turnTo(fd, item.seq);
    });
    return items;
  }

  #turnTo(fd: StdioFd, seq: number): void {
    if (this.#current[fd] === seq) return;
    this.#current[fd] = seq;
    try {
      writeFully(fd, this.#encoder.encode(seq));
    } catch {
      // The worker has closed the descriptor.
    }
  }
}
