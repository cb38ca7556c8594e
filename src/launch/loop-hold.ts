/**
 * Keeps the program alive while the user awaits a call, `ready`, `close` or `destroy`. No process, socket, channel,
 * thread or listener of ours holds the event loop, so none can hold it too long or not long enough; a few short timers
 * do, such as the delay before SIGKILL (child-kill.ts). All holds share one timer, which never fires in practice.
 */
import { outside } from "./outside.js";
import { setInterval } from "../system/timers.js";
import { MAX_DELAY_MS } from "../wire/protocol.js";

let holders = 0;
let timer: NodeJS.Timeout | undefined;

/** One reason to hold the event loop. `take` and `release` are idempotent. */
export class LoopHold {
  #isTaken = false;

  take(): void {
    if (this.#isTaken) return;
    this.#isTaken = true;
    holders += 1;
    if (holders > 1) return;
    timer ??= outside(() => setInterval(() => {}, MAX_DELAY_MS));
    timer.ref();
  }

  release(): void {
    if (!this.#isTaken) return;
    this.#isTaken = false;
    holders -= 1;
    if (holders === 0) timer!.unref();
  }
}

/** Holds the event loop until `work` has settled. */
export async function holdingLoop<T>(work: () => Promise<T>): Promise<T> {
  const hold = new LoopHold();
  hold.take();
  try {
    return await work();
  } finally {
    hold.release();
  }
}
