/** Counts what becomes of a container's instances, and how often of late. */
import { monotonic } from "../system/monotonic.js";

/** What `container.statistics` returns. */
export interface ContainerStatistics {
  /** Children started, the first of each instance included. */
  readonly spawns: number;
  /** Children started in place of an earlier one. */
  readonly restarts: number;
  /** Children that ended otherwise than by exit code 0 or on request, or could not be started. */
  readonly failures: number;
  /** Restarts per second, over the last 60 s. */
  readonly restartRate: number;
  /** Failures per second, over the last 60 s. */
  readonly failureRate: number;
}

const WINDOW_SECONDS = 60;

export class Statistics {
  #spawns = 0;
  #restarts = 0;
  #failures = 0;
  readonly #restartRate = new Rate();
  readonly #failureRate = new Rate();

  spawned(isRestart: boolean): void {
    this.#spawns += 1;
    if (!isRestart) return;
    this.#restarts += 1;
    this.#restartRate.add();
  }

  failed(): void {
    this.#failures += 1;
    this.#failureRate.add();
  }

  snapshot(): ContainerStatistics {
    return {
      spawns: this.#spawns,
      restarts: this.#restarts,
      failures: this.#failures,
      restartRate: this.#restartRate.perSecond(),
      failureRate: this.#failureRate.perSecond(),
    };
  }
}

/** Counts by second, so that memory stays the same however much is counted. */
class Rate {
  readonly #counts = new Uint32Array(WINDOW_SECONDS);
  readonly #seconds = new Float64Array(WINDOW_SECONDS).fill(-Infinity);

  add(): void {
    const second = Math.floor(monotonic() / 1000);
    const at = second % WINDOW_SECONDS;
    if (this.#seconds[at] !== second) {
      this.#seconds[at] = second;
      this.#counts[at] = 0;
    }
    this.#counts[at]! += 1;
  }

  perSecond(): number {
    const first = Math.floor(monotonic() / 1000) - WINDOW_SECONDS;
    let sum = 0;
    for (const [i, second] of this.#seconds.entries()) if (second > first) sum += this.#counts[i]!;
    return sum / WINDOW_SECONDS;
  }
}
