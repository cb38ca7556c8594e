/** INT and TERM while a queue worker runs: the first lets jobs end, for a limited time; the second does not, and ends the program. */
import { clearTimeout, setTimeout } from "../system/timers.js";
import type { Log } from "./logger.js";

/** What is left when the server does not answer any more: the children are killed long before. */
const KILL_LIMIT_MS = 5000;

export interface Stoppable {
  /** Jobs taken and not yet acknowledged. */
  readonly held: number;
  stop(): void;
  kill(): void;
}

export class StopSignals {
  readonly #target: Stoppable;
  readonly #stopTimeout: number;
  readonly #log: Log;
  readonly #listener = (signal: NodeJS.Signals) => this.#on(signal);
  #count = 0;
  #deadline: NodeJS.Timeout | undefined;
  #exit: NodeJS.Timeout | undefined;

  /** @param stopTimeout - in ms, until jobs are given back after the first signal */
  constructor(target: Stoppable, stopTimeout: number, log: Log) {
    this.#target = target;
    this.#stopTimeout = stopTimeout;
    this.#log = log;
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  /** The program ends, with exit code 1, if a second signal has asked for it. */
  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
    clearTimeout(this.#deadline);
    clearTimeout(this.#exit);
    if (this.#count > 1) process.exit(1);
  }

  #on(signal: NodeJS.Signals): void {
    this.#count += 1;
    if (this.#count === 1) {
      this.#log("info", `${signal}: no more jobs are taken`, { signal });
      this.#deadline = setTimeout(() => {
        const { held } = this.#target;
        const what = `Jobs that have not ended ${this.#stopTimeout} ms after ${signal}: ${held} are given back`;
        if (held > 0) this.#log("warn", what);
        this.#target.kill();
      }, this.#stopTimeout);
      this.#target.stop();
      return;
    }
    this.#exit ??= setTimeout(() => process.exit(1), KILL_LIMIT_MS);
    this.#target.kill();
  }
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
