/** Starts no children while too little memory is free (`minFreeMemory`); checks again until there is enough. */
import { LaunchError } from "../errors.js";
import { freeMemory } from "../system/free-memory.js";
import { monotonic } from "../system/monotonic.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import type { TaskOwner } from "./task-owner.js";

const CHECK_MS = 100;
/** If nobody has asked for so long, a new wait begins. */
const PAUSE_MS = 10 * CHECK_MS;
/** How long to wait for memory while no child is running. */
const PATIENCE_MS = 30_000;

export class MemoryGate {
  readonly #runsChild: () => boolean;
  readonly #onCheck: () => void;
  /** Since when memory has been too short for a child, and no child has been running. */
  #shortSince: number | undefined;
  #askedAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param onCheck - called when `isOpen` should be asked again */
  constructor(runsChild: () => boolean, onCheck: () => void) {
    this.#runsChild = runsChild;
    this.#onCheck = onCheck;
  }

  /** Returns whether a child may be started for this call; ends a call that has waited too long. */
  isOpen(owner: TaskOwner): boolean {
    const { minFreeMemory } = owner.options;
    if (minFreeMemory === undefined) return true;
    const free = freeMemory();
    if (free >= minFreeMemory) {
      this.forget();
      return true;
    }
    const now = monotonic();
    if (now - this.#askedAt > PAUSE_MS) this.forget();
    this.#askedAt = now;
    // A running child may free memory when it ends.
    if (this.#runsChild()) this.forget();
    else this.#shortSince ??= now;
    if (this.#shortSince !== undefined && now - this.#shortSince > PATIENCE_MS) {
      owner.doomed(new LaunchError(tooLittle(free, minFreeMemory)));
    } else {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#onCheck();
      }, CHECK_MS).unref();
    }
    return false;
  }

  /** Restarts the waiting time, as for the next call. */
  forget(): void {
    this.#shortSince = undefined;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

function tooLittle(free: number, wanted: number): string {
  return (
    `No child was started for ${PATIENCE_MS / 1000} s: ${free} bytes of memory are free, ` +
    `\`minFreeMemory\` is ${wanted}, and no child of this call is running that could free memory when it ends`
  );
}
