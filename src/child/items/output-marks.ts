/**
 * Marks in what a child for many items prints where the output of another item begins, see output/output-mark.ts. With one
 * item at a time all that is printed, by whomever in the child, is of the one that has begun last. With more, what
 * JavaScript prints through `process.stdout`, `process.stderr` or `console` is of the item it was called for; the rest, of
 * the one that was begun or has printed last.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { MarkEncoder } from "../../wire/output-mark.js";
import { setBeforeWrite, type StdioFd, writeFully } from "./stdio.js";

/** Of an item that has ended: what it still prints is nobody's. */
const OVER = -1;

export class OutputMarks {
  readonly #encoder: MarkEncoder;
  /** Whose bytes come next, by descriptor. */
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

  /** Runs an item beside others. */
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
      // The worker has closed it.
    }
  }
}
