/** Kills the child in a slot with everything it has started: by `killSignal`, and by SIGKILL if that takes too long. */
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

  /** Whether the child has been sent `killSignal`. */
  get isUnderWay(): boolean {
    return this.#timer !== undefined;
  }

  begin(child: Child): void {
    if (this.#timer) return;
    child.kill(this.#killSignal);
    // The timer keeps the program alive: a worker that winds up after the signal gets its time even after the call.
    this.#timer = setTimeout(() => child.kill("SIGKILL"), this.#forceKillAfterDelay);
  }

  /** The child has ended. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
