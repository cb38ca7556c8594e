/**
 * How a call comes to its end: whether and why it stops, and what is closed then. It ends when all its items are done, after
 * an error, because it is aborted, or because nothing more of it is wanted.
 */
import type { ResolvedOptions } from "../options.js";
import type { LoopHold } from "../launch/loop-hold.js";

export interface CallEndEvents {
  /** No new item may start. Called again for each further reason. */
  onStop(): void;
  /** The items that run are no longer wanted: their children are to be killed. */
  onKill(): void;
  /** The call no longer waits for the user's hooks. */
  onAbort(): void;
}

export class CallEnd {
  readonly #events: CallEndEvents;
  #isStopped = false;
  #isHalted = false;
  /** The first in time, unless the call is halted: then the reason for that. */
  #reason: { readonly error: unknown } | undefined;
  #resolve!: () => void;
  /** Resolves once `reached` is called. */
  readonly whenReached = new Promise<void>((resolve) => (this.#resolve = resolve));

  constructor(events: CallEndEvents) {
    this.#events = events;
  }

  /** Whether no new item starts. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether the children of the call are killed; what they still report is dropped. */
  get isHalted(): boolean {
    return this.#isHalted;
  }

  /** What the call rejects with, if it does. */
  get reason(): { readonly error: unknown } | undefined {
    return this.#reason;
  }

  /** Starts no new item. The first error in time is the reason. */
  stop(error: unknown): void {
    this.#reason ??= { error };
    this.#stop();
  }

  /** Ends the call at once, for this reason. */
  halt(error: unknown): void {
    if (this.#isHalted) return;
    this.#isHalted = true;
    this.#reason = { error };
    this.#events.onAbort();
    this.#stop();
    this.#events.onKill();
  }

  /** Ends the call at once but awaits its hooks; the call then resolves. */
  finish(): void {
    if (this.#isHalted) return;
    this.#isHalted = true;
    this.#stop();
    this.#events.onKill();
  }

  /** Nothing of the call runs or waits any more. */
  reached(): void {
    this.#resolve();
  }

  /** Releases the reason, which may hold what belongs to the caller. */
  release(): void {
    this.#reason = undefined;
  }

  #stop(): void {
    this.#isStopped = true;
    this.#events.onStop();
  }
}

/** The steps of a call, which the scheduler takes. */
export interface CallSteps {
  readonly signal: ResolvedOptions["signal"];
  readonly end: CallEnd;
  /** Keeps the program from ending in the middle of the call. */
  readonly hold: LoopHold;
  begin(): Promise<void>;
  /** Resolves once no hook runs. */
  idle(): Promise<void>;
  /** Pulls no more items. */
  stop(): void;
  /** Each is called even if another throws: a journal is flushed to a disk that may be full. */
  readonly close: readonly (() => Promise<void> | void | undefined)[];
}

/** Runs a call from its first item to its end. Returns the reason to reject with, if the call was stopped. */
export async function runCall(steps: CallSteps): Promise<CallEnd["reason"]> {
  const { signal, end, hold } = steps;
  signal?.throwIfAborted();
  const onAbort = () => end.halt(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  hold.take();
  try {
    await steps.begin();
    await end.whenReached;
    // The call of a stream releases it while no task is open.
    hold.take();
    await steps.idle();
  } finally {
    signal?.removeEventListener("abort", onAbort);
    steps.stop();
    await closeAll([...steps.close, () => hold.release()]);
  }
  return end.reason;
}

async function closeAll([first, ...rest]: CallSteps["close"]): Promise<void> {
  if (!first) return;
  try {
    await first();
  } finally {
    await closeAll(rest);
  }
}
