/**
 * One call: pulls items as slots come free, has each attempted until it is done or given up, and hands every outcome
 * on. Owns order, retries, hooks and every way a call can end; how an item runs is the attempt's business.
 */
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Attempt, type Outcome } from "./attempt.js";
import { type Slot, Slots } from "./container/slots.js";
import { itemPayload, iterate, packItem, type PackedItem } from "./items.js";
import type { Launcher } from "./launch/launcher.js";
import type { ResolvedOptions } from "./options.js";
import type { Payload, Request } from "./protocol.js";
import type { Scratch } from "./scratch.js";

export interface Call {
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
  readonly options: ResolvedOptions;
  /** Whether anybody wants the results. */
  readonly wantsResults: boolean;
  /** What `process` is to return, for errors. */
  readonly expected: string;
  /** Has a launcher ready; only asked when there is an item. */
  readonly launcher: () => Promise<Launcher>;
  /** A number for an item, never used before with the same launcher. */
  readonly nextId: () => string;
  readonly onResult: (index: number, result: unknown) => void;
  readonly onError: (index: number, error: Error) => void;
}

export class Scheduler {
  readonly #call: Call;
  readonly #options: ResolvedOptions;
  readonly #attempts = new Set<Attempt>();
  readonly #items = new Set<Promise<void>>();
  readonly #hooks: HookLine;
  /** Aborted when the call is to end at once: attempts are killed, pauses cut short. */
  readonly #halt = new AbortController();
  #stopped = false;
  #stopReason: { readonly error: unknown } | undefined;
  #launcher!: Launcher;
  #slots!: Slots;
  #scratch: Scratch | undefined;
  #interrupt = () => {};

  constructor(call: Call) {
    this.#call = call;
    this.#options = call.options;
    this.#hooks = new HookLine(call.options.finishInOrder);
  }

  /** Runs the call to its end: afterwards no child of it is alive and its directory is gone. Rejects with what stopped it. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const iterator = iterate(this.#call.items);
    const onAbort = () => this.halt(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#pullAll(iterator);
      await Promise.all(this.#items);
      await this.#unlessHalted(this.#hooks.idle());
    } finally {
      signal?.removeEventListener("abort", onAbort);
      await this.#removeScratch();
    }
    if (this.#stopReason) throw this.#stopReason.error;
  }

  /** Ends the call at once: kills what runs; `run` then rejects with `reason`. */
  halt(reason: unknown): void {
    if (this.#halt.signal.aborted) return;
    this.#stopReason = { error: reason };
    this.#stopped = true;
    this.#interrupt();
    for (const attempt of this.#attempts) attempt.kill();
    this.#halt.abort();
  }

  /** Starts no new item; the first reason in time is what the call rejects with. */
  #stop(error: unknown): void {
    this.#stopReason ??= { error };
    this.#stopped = true;
    this.#interrupt();
  }

  async #pullAll(iterator: Iterator<unknown> | AsyncIterator<unknown>): Promise<void> {
    let exhausted = false;
    let slot: Slot | undefined;
    try {
      for (let index = 0; !this.#stopped; index += 1) {
        // An empty input starts nothing, so there is no slot to wait for before the first item.
        slot = index === 0 ? undefined : await this.#slots.acquire();
        if (this.#stopped) break;
        const pulled = iterator.next();
        const next = "then" in pulled ? await this.#unlessStopped(pulled) : pulled;
        if (next === undefined) break;
        if (next.done) {
          exhausted = true;
          break;
        }
        if (index === 0 && !(await this.#open())) break;
        const done = this.#runItem(next.value, index, slot ?? (await this.#slots.acquire()));
        slot = undefined;
        this.#items.add(done);
        void done.finally(() => this.#items.delete(done));
      }
    } catch (error) {
      // Thrown by the iterator itself, which is finished then, or by what must be there before the first item.
      this.#stop(error);
    }
    // Another item may wait for it, to be tried again.
    if (slot) this.#slots.release(slot);
    // Not awaited: a generator that still waits inside `next` would answer after that, if ever.
    if (!exhausted) void close(iterator);
  }

  /** Whether there is all that the first item needs; not when the call was stopped meanwhile. */
  async #open(): Promise<boolean> {
    const launcher = await this.#unlessStopped(this.#call.launcher());
    if (!launcher) return false;
    this.#launcher = launcher;
    this.#slots = new Slots(this.#options.concurrency ?? launcher.defaultConcurrency);
    // Loaded when needed: a worker's module imports this package in every other process, which has no use for it.
    const { Scratch } = await import("./scratch.js");
    this.#scratch = new Scratch(this.#options.scratchRoot);
    launcher.guard(this.#scratch.directory);
    await this.#scratch.open();
    return true;
  }

  /** What `promise` gives, or `undefined` as soon as the call is stopped: a source of items may never answer. */
  #unlessStopped<T>(promise: PromiseLike<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve(undefined);
      promise.then(resolve, reject);
    });
  }

  /** A hook of the user may never end; an abort does not wait for it. */
  #unlessHalted(hook: Promise<unknown>): Promise<unknown> {
    const { signal } = this.#halt;
    if (signal.aborted) {
      hook.catch(() => {});
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onHalt = () => resolve(undefined);
      signal.addEventListener("abort", onHalt, { once: true });
      hook.then(resolve, reject).finally(() => signal.removeEventListener("abort", onHalt));
    });
  }

  async #removeScratch(): Promise<void> {
    if (!this.#scratch) return;
    await this.#scratch.remove();
    this.#launcher.unguard(this.#scratch.directory);
  }

  /** Never rejects: what goes wrong is handed on or stops the call. */
  async #runItem(item: unknown, index: number, slot: Slot): Promise<void> {
    let held: Slot | undefined = slot;
    const release = () => {
      if (held) this.#slots.release(held);
      held = undefined;
    };
    try {
      const packed = packItem(item, index);
      const { onStart, onFinish } = this.#options;
      if (onStart) await this.#unlessHalted(this.#hooks.now(() => onStart(item as never, index)));
      for (let attempt = 1; !this.#stopped || attempt > 1; attempt += 1) {
        held ??= await this.#slots.acquire();
        if (this.#halt.signal.aborted) return;
        const outcome = await this.#attempt(packed, index, attempt, held);
        if (outcome.status === "ok") {
          release();
          const { result, info } = outcome;
          this.#call.onResult(index, result);
          if (!onFinish) return;
          const hook = () => onFinish(item as never, index, result as never, info);
          await this.#unlessHalted(this.#hooks.inTurn(index, hook));
          return;
        }
        // The slot is still held: this may be the error after which no item starts.
        if (!this.#mayRetry(outcome, attempt)) return this.#giveUp(index, outcome);
        release();
        await this.#pause(attempt);
        if (this.#stopped) return this.#giveUp(index, outcome);
      }
    } catch (error) {
      // A hook threw, or the item cannot travel.
      this.#stop(error);
    } finally {
      release();
      this.#hooks.skip(index);
    }
  }

  async #attempt(packed: PackedItem, index: number, attempt: number, slot: Slot): Promise<Outcome> {
    const id = this.#call.nextId();
    const file = `${this.#scratch!.directory}/${id}`;
    const payload: Payload = {
      index,
      attempt,
      num: slot.num,
      generation: slot.generation,
      ...itemPayload(packed, `${file}.item`),
      wordFile: `${file}.word`,
      ...(this.#call.wantsResults ? { resultFile: `${file}.result` } : {}),
      ...(this.#options.limits ? { limits: this.#options.limits } : {}),
    };
    const request: Request = { id, payload };
    const running = new Attempt(this.#launcher, request, this.#options, this.#call.expected);
    this.#attempts.add(running);
    const outcome = await running.outcome;
    this.#attempts.delete(running);
    // The result is removed by whoever reads it; of a failed item there may be half a one.
    if (payload.itemFile !== undefined) rmSync(payload.itemFile, { force: true });
    if (outcome.status !== "ok") {
      rmSync(payload.wordFile, { force: true });
      if (payload.resultFile !== undefined) rmSync(payload.resultFile, { force: true });
    }
    return outcome;
  }

  #mayRetry({ retriable }: { retriable: boolean }, attempt: number): boolean {
    return retriable && attempt <= this.#options.retries && !this.#stopped;
  }

  async #pause(attempt: number): Promise<void> {
    const { min, max, factor } = this.#options.retryDelay;
    // Half of it random, so that items that failed together do not come back together.
    const pause = Math.min(max, min * factor ** (attempt - 1)) * (0.5 + Math.random() / 2);
    await sleep(pause, undefined, { signal: this.#halt.signal }).catch(() => {});
  }

  #giveUp(index: number, { error, fatal }: Extract<Outcome, { status: "failed" }>): void {
    if (this.#halt.signal.aborted) return;
    if (fatal) {
      this.#stop(error);
      return;
    }
    this.#call.onError(index, error);
    if (this.#options.stopOnError) this.#stop(error);
  }
}

async function close(iterator: Iterator<unknown> | AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // What ended the call is told, not what came of it.
  }
}

/** The user's hooks: one at a time, in the order they came or in the order of the items. */
class HookLine {
  readonly #inOrder: boolean;
  #last: Promise<unknown> = Promise.resolve();
  /** In order: what is due at its turn, and the items that need no turn. */
  readonly #due = new Map<number, () => void>();
  #turn = 0;

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  /** Runs a hook once those before it are done. */
  now(hook: () => unknown): Promise<unknown> {
    const done = this.#last.then(hook);
    this.#last = done.catch(() => {});
    return done;
  }

  async inTurn(index: number, hook: () => unknown): Promise<void> {
    if (this.#inOrder && index !== this.#turn) {
      await new Promise<void>((resolve) => this.#due.set(index, resolve));
    }
    await this.now(hook);
  }

  /** The item is through: it is the next one's turn. */
  skip(index: number): void {
    if (!this.#inOrder) return;
    this.#due.set(index, PASSED);
    while (this.#due.get(this.#turn) === PASSED) {
      this.#due.delete(this.#turn);
      this.#turn += 1;
    }
    this.#due.get(this.#turn)?.();
  }

  async idle(): Promise<void> {
    await this.#last;
  }
}

const PASSED = () => {};
