/**
 * The folder holds what runs items in a child and records what became of them. Here: the worker's `setup` before the
 * first item, `process` for each, `teardown` after the last. A child's entry decides how items arrive and how it ends.
 *
 * An item whose `process` returns no promise is begun, run and recorded within one turn of the event loop.
 */
import { monotonic } from "../../system/monotonic.js";
import { isThenable } from "../../system/thenable.js";
import { recordError } from "../../wire/error-record.js";
import { decodeItem } from "../../wire/payload.js";
import type { Payload, Start, ToChild } from "../../wire/protocol.js";
import { resultFormatOf } from "../../worker/check-worker.js";
import { enterFrame } from "../../worker/current-context.js";
import { Interruption, RunningTask } from "../../worker/running-task.js";
import type { Instance } from "../../worker/worker.js";
import type { LedgerWriter } from "./ledger-writer.js";
import { MemoryLimit } from "./memory-limit.js";
import { Notes } from "./notes.js";
import type { OverflowWriter } from "./overflow.js";
import type { Batch, LoadedWorker, RunnerEvents, Surroundings } from "./runner-events.js";
import { Spin } from "./spin.js";

export class Runner {
  readonly notes: Notes;
  /** Items under way. */
  inFlight = 0;
  /** Items that were begun. Children that are full before their first would be replaced for ever. */
  begun = 0;
  readonly #worker: LoadedWorker;
  readonly #start: Start;
  readonly #ledger: LedgerWriter;
  readonly #events: RunnerEvents;
  readonly #instance: Instance;
  readonly #memory: MemoryLimit | undefined;
  readonly #interruption: Interruption;
  readonly #batches: Batch[] = [];
  readonly #spin = new Spin();
  #lastId = "";
  #maySpin = false;
  #isSetUp: boolean;
  #isSettingUp = false;
  #isPumping = false;
  /** The `stopOnError` (number of the call) of an item that has failed: no later item of that call is begun. */
  #stopped: number | undefined;
  /** The child takes no more items: `setup` failed, or it holds too much memory. */
  #isFull = false;
  /** The child ends when the running items are done. */
  #isEnding = false;
  #isFinishing = false;
  #isBusy = false;
  #isProgressDue = false;

  constructor(
    worker: LoadedWorker,
    start: Start,
    { kind, name, context, serialization, heldMemory = process.memoryUsage.rss }: Surroundings,
    ledger: LedgerWriter,
    overflow: OverflowWriter,
    events: RunnerEvents,
  ) {
    this.#worker = worker;
    this.#start = start;
    this.#ledger = ledger;
    this.notes = new Notes(ledger, overflow, resultFormatOf(worker, serialization));
    this.#events = events;
    const { maxRss } = start;
    this.#memory = maxRss === undefined ? undefined : new MemoryLimit(maxRss, heldMemory);
    this.#interruption = new Interruption(() => events.onInterrupt(() => this.interrupt()));
    this.#isSetUp = worker.setup === undefined;
    this.#instance = enterFrame({ kind, num: start.num, name }, start.generation, context);
  }

  follow(message: ToChild): void {
    if ("do" in message) this.end();
    else this.run(message.id, message.payload);
  }

  run(id: string, payload: Payload): void {
    this.#ledger.readUpTo(payload.read);
    this.#batches.push({ payload, next: 0 });
    this.#lastId = id;
    this.#spin.end();
    this.#maySpin = payload.spin === true;
    if (this.#isSetUp || this.#isFull) this.#pump();
    else if (!this.#isSettingUp) void this.#setUp();
  }

  /** Ends the child once the running items are done; the others are given back. */
  end(): void {
    this.#isEnding = true;
    this.#pump();
  }

  /** Runs `setup` as a part of the first item: an error of `setup` is the error of that item. */
  async #setUp(): Promise<void> {
    const { payload } = this.#batches[0]!;
    this.#isSettingUp = true;
    this.#setBusy(true);
    if (!this.#ledger.begin(payload.seq, monotonic())) {
      this.#isSettingUp = false;
      return this.#pump();
    }
    this.#events.marks?.begin(payload.seq);
    try {
      await this.#worker.setup!(this.#instance);
      this.#isSetUp = true;
    } catch (thrown) {
      this.#isFull = true;
      this.#batches[0]!.next += 1;
      this.notes.error(payload.seq, thrown);
    }
    this.#isSettingUp = false;
    this.#pump();
  }

  /** Begins items while there are any and a fiber is free, then reports to the parent. */
  #pump(): void {
    // An item that is done at once calls this again from within.
    if (this.#isPumping || this.#isSettingUp) return;
    this.#isPumping = true;
    let now = monotonic();
    for (let batch = this.#batches[0]; batch !== undefined; batch = this.#batches[0]) {
      const { payload } = batch;
      const { length } = payload.items;
      while (batch.next < length && this.inFlight < payload.fibers) {
        const seq = payload.seq + batch.next;
        if (this.#isOver(payload, now) || !this.#ledger.begin(seq, now)) {
          this.#giveBack(seq);
          break;
        }
        batch.next += 1;
        now = this.#begin(payload, batch.next - 1, seq);
      }
      if (batch.next < length) break;
      if (payload.last) this.#isEnding = true;
      this.#batches.shift();
      // The event loop does not turn between two batches, and the parent may have another batch to send.
      if (this.#batches.length > 0) this.#say({ status: "progress" });
    }
    this.#isPumping = false;
    this.#settle();
  }

  #isOver({ stopOnError }: Payload, now: number): boolean {
    if (this.#isEnding || this.#isFull) return true;
    if (stopOnError !== undefined && stopOnError === this.#stopped) return true;
    if (this.#holdsTooMuch(now)) this.#isFull = true;
    return this.#isFull;
  }

  #holdsTooMuch(now: number): boolean {
    return this.begun > 0 && this.#memory !== undefined && this.#memory.isExceeded(now);
  }

  /** Runs an item; returns the time at which `process` returned. */
  #begin(payload: Payload, place: number, seq: number): number {
    this.begun += 1;
    this.#events.marks?.begin(seq);
    try {
      const encoded = payload.encoded?.[place];
      const item = encoded ? decodeItem(encoded) : payload.items[place];
      const index = payload.indexes === undefined ? payload.index + place : payload.indexes[place]!;
      const attempt = payload.attempts === undefined ? 1 : payload.attempts[place]!;
      const task = new RunningTask(index, attempt, this.#instance, this.#interruption.signal);
      const result = this.#process(payload, seq, item, task);
      if (isThenable(result) || this.#tearsDown) {
        this.inFlight += 1;
        void this.#later(payload, seq, result);
        return monotonic();
      }
      if (this.#events.reportRejections) {
        this.inFlight += 1;
        this.#succeedAlone(payload, seq, result);
        return monotonic();
      }
      return this.#succeed(payload, seq, result);
    } catch (thrown) {
      return this.#fail(payload, seq, thrown);
    }
  }

  #process(payload: Payload, seq: number, item: unknown, task: RunningTask): unknown {
    const { marks } = this.#events;
    if (!marks || payload.fibers === 1) return this.#worker.process(item, task);
    return marks.among(seq, () => this.#worker.process(item, task));
  }

  async #later(payload: Payload, seq: number, result: unknown): Promise<void> {
    try {
      const value = await result;
      if (this.#tearsDown) await this.#worker.teardown!();
      if (this.#events.reportRejections) return this.#succeedAlone(payload, seq, value);
      this.#succeed(payload, seq, value);
    } catch (thrown) {
      this.#fail(payload, seq, thrown);
    }
    this.inFlight -= 1;
    this.#pump();
  }

  /** Records the result of a child's only item once Node has reported unhandled rejections: a fatal one fails it. */
  #succeedAlone(payload: Payload, seq: number, result: unknown): void {
    this.#events.reportRejections!(() => {
      try {
        this.#succeed(payload, seq, result);
      } catch (thrown) {
        this.#fail(payload, seq, thrown);
      }
      this.inFlight -= 1;
      this.#pump();
    });
  }

  #succeed(payload: Payload, seq: number, result: unknown): number {
    const end = payload.results ? this.notes.result(seq, result) : this.notes.nothing(seq);
    this.#events.marks?.end(seq);
    return end;
  }

  #fail(payload: Payload, seq: number, thrown: unknown): number {
    this.#events.marks?.end(seq);
    this.#stopped = payload.stopOnError;
    return this.notes.error(seq, thrown);
  }

  /** Gives back all items that were not begun, from `from` on. */
  #giveBack(from: number): void {
    const { seq, items } = this.#batches.at(-1)!.payload;
    this.#batches.length = 0;
    this.#say({ status: "returned", from, to: seq + items.length });
  }

  #settle(): void {
    if (this.#batches.length > 0 || this.inFlight > 0) {
      this.#setBusy(true);
      this.#sayProgressSoon();
      return;
    }
    this.#setBusy(false);
    if (this.#start.payload) return this.#events.done();
    if (this.#holdsTooMuch(monotonic())) this.#isFull = true;
    this.#say({ status: "ok" });
    if (this.#isEnding) void this.#finish();
    else if (this.#maySpin) this.#spin.begin();
  }

  async #finish(): Promise<void> {
    if (this.#isFinishing) return;
    this.#isFinishing = true;
    // If `teardown` awaits a promise that can never settle, the child exits, as it does for an item.
    this.#setBusy(true);
    try {
      if (this.#isSetUp) await this.#worker.teardown?.();
    } catch (thrown) {
      this.notes.ending({ how: "teardown", error: recordError(thrown) });
    }
    this.#events.done();
  }

  #setBusy(isBusy: boolean): void {
    if (this.#isBusy === isBusy) return;
    this.#isBusy = isBusy;
    this.#events.busy(isBusy);
  }

  /** Reports progress once per turn of the event loop, however many items are done in it. */
  #sayProgressSoon(): void {
    if (this.#start.payload || this.#isProgressDue) return;
    this.#isProgressDue = true;
    setImmediate(() => {
      this.#isProgressDue = false;
      if (this.#isBusy) this.#say({ status: "progress" });
    });
  }

  #say(
    message: { status: "ok" | "progress" } | { status: "returned"; from: number; to: number },
  ): void {
    if (this.#start.payload) return;
    const full = this.#isFull || this.#isEnding ? { full: true as const } : {};
    this.#events.say({ id: this.#lastId, ...message, ...full });
  }

  /** Whether `teardown` is a part of the item: in a child with one item. */
  get #tearsDown(): boolean {
    return this.#start.payload !== undefined && this.#worker.teardown !== undefined;
  }

  /** The child is asked to end: running items receive the signal and may finish. */
  interrupt(): void {
    this.#interruption.abort();
    if (!this.#start.payload) this.end();
  }
}
