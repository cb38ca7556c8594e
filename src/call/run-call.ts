/** Runs a call from its first item to its end, then closes what it has opened, whichever way it ends. */
import type { ResolvedOptions } from "../options.js";
import type { CallEnd } from "./call-end.js";
import type { LoopHold } from "./loop-hold.js";

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

/** @returns the reason to reject with, if the call was stopped */
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
