/** Kills the child in a slot and all that it has started: by `killSignal`, later by SIGKILL if it is still alive. */
import type { Child } from "../launch/launcher.js";
import type { ResolvedOptions } from "../options.js";
import { clearTimeout, setTimeout } from "../system/timers.js";

export class ChildKill {
  #killSignal: NodeJS.Signals = "SIGTERM";
  #forceKillAfterDelay = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Takes the options of the call whose tasks the child runs. */
  prepare({ killSignal, forceKillAfterDelay }: ResolvedOptions): void {
    this.#killSignal = killSignal;
    this.#forceKillAfterDelay = forceKillAfterDelay;
  }

  /** Whether the child has been sent `killSignal`, even if it has ended since. */
  get isUnderWay(): boolean {
    return this.#timer !== undefined;
  }

  begin(child: Child): void {
    if (this.#timer) return;
    child.kill(this.#killSignal);
    // The timer keeps the program alive: a worker that cleans up after the signal has time for it even after the call.
    this.#timer = setTimeout(() => child.kill("SIGKILL"), this.#forceKillAfterDelay);
  }

  /** The child has ended. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
