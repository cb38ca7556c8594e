/** Keeps children from being started while too little memory is free (`minFreeMemory`); asks again until there is enough. */
import { LaunchError } from "../errors.js";
import { freeMemory } from "../system/free-memory.js";
import { monotonic } from "../system/monotonic.js";
import type { TaskOwner } from "./task-owner.js";
import { clearTimeout, setTimeout } from "../system/timers.js";

const CHECK_MS = 100;
/** With no child running, memory is not waited for any longer. */
const PATIENCE_MS = 30_000;

export class MemoryGate {
  readonly #runsChild: () => boolean;
  readonly #onCheck: () => void;
  /** Since when there has been too little for a child, and no child. */
  #shortSince: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param onCheck - called when it may be asked again */
  constructor(runsChild: () => boolean, onCheck: () => void) {
    this.#runsChild = runsChild;
    this.#onCheck = onCheck;
  }

  /** Whether a child may be started for this call; one that has waited for too long is doomed. */
  isOpen(owner: TaskOwner): boolean {
    const { minFreeMemory } = owner.options;
    if (minFreeMemory === undefined) return true;
    const free = freeMemory();
    if (free >= minFreeMemory) {
      this.forget();
      return true;
    }
    const now = monotonic();
    // As long as a child runs, its end may help.
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

  /** The next call has its own patience. */
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
    `\`minFreeMemory\` asks for ${wanted}, and none of this call is running whose end could help`
  );
}
