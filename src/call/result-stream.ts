/**
 * The results of a call as an async iterable: nothing is started before the first is asked for, no more items are pulled
 * than there may be unread ones, and a reader that leaves ends the call.
 */

import { holdingLoop, LoopHold } from "./loop-hold.js";

/** The call, as its reader sees it. */
export interface StreamedCall {
  /** Starts it; settles when it has ended. */
  run(): Promise<void>;
  /** Ends it at once. */
  cancel(): void;
  /** Items pulled so far. */
  readonly pulled: number;
  /** Items that may be pulled and not yet read. */
  readonly window: number;
  /** More may be pulled than when it was last asked. */
  onRead(): void;
}

interface Reader<Result> {
  resolve(result: IteratorResult<Result>): void;
  reject(error: unknown): void;
}

/** In place of the result of an item that failed. */
const FAILED = Symbol("failed");
/** Read results are let go of so many at a time. */
const CHUNK = 1024;

export class ResultStream<Result> implements AsyncIterableIterator<Result> {
  readonly #isOrdered: boolean;
  readonly #call: () => StreamedCall;
  #started: StreamedCall | undefined;
  /** From `#at` on they are still to be read. In order, those still to come are holes, and the first has index `#first`. */
  #results: (Result | typeof FAILED | undefined)[] = [];
  #at = 0;
  #first = 0;
  /** Without order: items that have failed, of which there is nothing to read. */
  #skipped = 0;
  #isBlocked = false;
  #running: Promise<void> | undefined;
  #end: { readonly error: unknown } | "done" | undefined;
  readonly #readers: Reader<Result>[] = [];
  /** While a reader waits. */
  readonly #hold = new LoopHold();

  /** @param call - makes the call; only asked for when the first result is */
  constructor(isOrdered: boolean, call: () => StreamedCall) {
    this.#isOrdered = isOrdered;
    this.#call = call;
  }

  /** How many items may be pulled now. */
  mayPull(): number {
    const { pulled, window } = this.#started!;
    const allowed = window - (pulled - this.#read);
    if (allowed <= 0) this.#isBlocked = true;
    return allowed;
  }

  push(index: number, result: Result): void {
    if (this.#isOrdered) this.#place(index - this.#first, result);
    else this.#results.push(result);
    if (this.#readers.length > 0) this.#serve();
  }

  skip(index: number): void {
    if (this.#isOrdered) this.#place(index - this.#first, FAILED);
    else {
      this.#skipped += 1;
      this.#askForMore();
    }
    this.#serve();
  }

  next(): Promise<IteratorResult<Result>> {
    if (this.#end === undefined) this.#start();
    const value = this.#readers.length === 0 ? this.#shift() : undefined;
    if (value !== undefined) return Promise.resolve({ done: false, value });
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#hold.take();
      this.#serve();
    });
  }

  async return(): Promise<IteratorResult<Result>> {
    this.#end ??= "done";
    this.#results = [];
    this.#started?.cancel();
    await holdingLoop(async () => await this.#running);
    this.#serve();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): void {
    if (this.#started) return;
    try {
      this.#started = this.#call();
    } catch (error) {
      this.#end = { error };
      return;
    }
    this.#running = this.#started
      .run()
      .then(
        () => (this.#end ??= "done"),
        (error: unknown) => (this.#end ??= { error }),
      )
      .then(() => this.#serve());
  }

  /** Far beyond its end, V8 would make a hash table of the array; batches come in any order. */
  #place(at: number, result: Result | typeof FAILED): void {
    while (this.#results.length < at) this.#results.push(undefined);
    this.#results[at] = result;
  }

  get #read(): number {
    return this.#first + this.#at + this.#skipped;
  }

  /** The next result, `undefined` when it is not there yet. */
  #shift(): Result | undefined {
    for (;;) {
      const value = this.#results[this.#at];
      if (value === undefined) return undefined;
      this.#results[this.#at] = undefined;
      this.#at += 1;
      if (this.#at === CHUNK) {
        this.#results = this.#results.slice(CHUNK);
        this.#first += CHUNK;
        this.#at = 0;
      }
      this.#askForMore();
      if (value !== FAILED) return value;
    }
  }

  /** When a good part has been read of what may wait: asking costs more than reading. */
  #askForMore(): void {
    if (!this.#isBlocked) return;
    const { pulled, window } = this.#started!;
    if ((pulled - this.#read) * 2 > window) return;
    this.#isBlocked = false;
    this.#started!.onRead();
  }

  #serve(): void {
    this.#serveReaders();
    if (this.#readers.length === 0) this.#hold.release();
  }

  #serveReaders(): void {
    while (this.#readers.length > 0) {
      const value = this.#shift();
      if (value !== undefined) this.#readers.shift()!.resolve({ done: false, value });
      else if (this.#end === undefined) return;
      else if (this.#end === "done")
        this.#readers.shift()!.resolve({ done: true, value: undefined });
      else {
        const { error } = this.#end;
        // Told once; after it there is nothing.
        this.#end = "done";
        this.#readers.shift()!.reject(error);
      }
    }
  }
}
