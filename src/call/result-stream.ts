/**
 * The results of a call as an async iterable. The call starts when the first result is requested; items are pulled only
 * while the number of unread results is below the window; a reader that leaves the loop ends the call.
 */

import { holdingLoop, LoopHold } from "../launch/loop-hold.js";

/** The call, as its reader sees it. */
export interface StreamedCall {
  /** Starts the call; settles when the call has ended. */
  run(): Promise<void>;
  /** Ends the call at once. */
  cancel(): void;
  /** Items pulled so far. */
  readonly pulled: number;
  /** How many items may be pulled whose results are not yet read. */
  readonly window: number;
  /** Called when more items may be pulled after `mayPull` returned 0 or less. */
  onRead(): void;
}

interface Reader<Result> {
  resolve(result: IteratorResult<Result>): void;
  reject(error: unknown): void;
}

/** Stands for the result of an item that failed. */
const FAILED = Symbol("failed");
/** Stands for a result that has not arrived yet. A result may be `undefined`. */
const MISSING = Symbol("missing");
/** Read results are removed from the array in chunks of this size. */
const CHUNK = 1024;

export class ResultStream<Result> implements AsyncIterableIterator<Result> {
  readonly #isOrdered: boolean;
  readonly #call: () => StreamedCall;
  #started: StreamedCall | undefined;
  /** Unread results from `#at` on. If ordered: `[0]` has index `#first`. */
  #results: (Result | typeof FAILED | typeof MISSING)[] = [];
  #at = 0;
  #first = 0;
  /** If unordered: the number of failed items, which have no result to read. */
  #skipped = 0;
  /** While no more items may be pulled: how many results have to be read before more may be. */
  #resumeAt = Infinity;
  #isServing = false;
  #running: Promise<void> | undefined;
  #end: { readonly error: unknown } | "done" | undefined;
  readonly #readers: Reader<Result>[] = [];
  /** Held while a reader waits. */
  readonly #hold = new LoopHold();

  /** @param call - makes the call; called when the first result is requested */
  constructor(isOrdered: boolean, call: () => StreamedCall) {
    this.#isOrdered = isOrdered;
    this.#call = call;
  }

  /** Returns how many items may be pulled now. */
  mayPull(): number {
    const { pulled, window } = this.#started!;
    const allowed = window - (pulled - this.#read);
    // Half of the window has to be read first: `onRead` costs more than reading one result.
    if (allowed <= 0) this.#resumeAt = pulled - window / 2;
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
    const value = this.#readers.length === 0 ? this.#shift() : MISSING;
    if (value !== MISSING) return Promise.resolve({ done: false, value });
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

  /** Fills the array up to `at`: V8 makes a hash table of an array with a large gap, and batches come in any order. */
  #place(at: number, result: Result | typeof FAILED): void {
    while (this.#results.length < at) this.#results.push(MISSING);
    this.#results[at] = result;
  }

  get #read(): number {
    return this.#first + this.#at + this.#skipped;
  }

  /** Removes and returns the next result; `MISSING` if it has not arrived yet. */
  #shift(): Result | typeof MISSING {
    for (;;) {
      if (this.#at >= this.#results.length) return MISSING;
      const value = this.#results[this.#at]!;
      if (value === MISSING) return MISSING;
      this.#results[this.#at] = MISSING;
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

  #askForMore(): void {
    if (this.#read < this.#resumeAt) return;
    this.#resumeAt = Infinity;
    this.#started!.onRead();
  }

  #serve(): void {
    // Reading a result can pull items whose results are known at once: the loop below gives them to readers in their order.
    if (this.#isServing) return;
    this.#isServing = true;
    this.#serveReaders();
    this.#isServing = false;
    if (this.#readers.length === 0) this.#hold.release();
  }

  #serveReaders(): void {
    while (this.#readers.length > 0) {
      const value = this.#shift();
      if (value !== MISSING) this.#readers.shift()!.resolve({ done: false, value });
      else if (this.#end === undefined) return;
      else if (this.#end === "done")
        this.#readers.shift()!.resolve({ done: true, value: undefined });
      else {
        const { error } = this.#end;
        // The first reader gets the error; all later ones get `done`.
        this.#end = "done";
        this.#readers.shift()!.reject(error);
      }
    }
  }
}
