/** Kills a child and all that it has started: by a signal, later by SIGKILL if it is still alive. */
import { clearTimeout, setTimeout } from "../system/timers.js";
import type { Child } from "./launcher.js";

/** The ladder of signals. */
export interface KillOptions {
  readonly killSignal: NodeJS.Signals;
  /** In ms; 0 is SIGKILL at once. */
  readonly forceKillAfterDelay: number;
}

export class ChildKill {
  #killSignal: NodeJS.Signals = "SIGTERM";
  #forceKillAfterDelay = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Sets how the child is killed. */
  prepare({ killSignal, forceKillAfterDelay }: KillOptions): void {
    this.#killSignal = killSignal;
    this.#forceKillAfterDelay = forceKillAfterDelay;
  }

  /** Whether the child has been sent the signal, even if it has ended since. */
  get isUnderWay(): boolean {
    return this.#timer !== undefined;
  }

  begin(child: Pick<Child, "kill">): void {
    if (this.#timer) return;
    child.kill(this.#killSignal);
    // The timer keeps the program alive: a child that cleans up after the signal has time for it even after the call.
    this.#timer = setTimeout(() => child.kill("SIGKILL"), this.#forceKillAfterDelay);
  }

  /** The child has ended. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
