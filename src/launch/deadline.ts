/**
 * By when another process has to have done something. Node calls timers before it reads what has arrived, and a program that
 * was busy or stopped finds both at once: the deadline counts once what has arrived is read.
 */
import { outside } from "./outside.js";
import { clearImmediate, clearTimeout, setImmediate, setTimeout } from "../system/timers.js";

/** A process's end is known one turn of the event loop after it is read, its channel's end another one. */
const TURNS = 3;

export class Deadline {
  readonly #onPassed: () => void;
  readonly #timer: NodeJS.Timeout;
  #turn: NodeJS.Immediate | undefined;

  /** @param onPassed - not called in the context of a call, which it may outlive; it keeps no program alive */
  constructor(ms: number, onPassed: () => void) {
    this.#onPassed = onPassed;
    this.#timer = outside(() => setTimeout(() => this.#passIn(TURNS), ms).unref());
  }

  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
  }

  #passIn(turns: number): void {
    this.#turn = setImmediate(() => {
      if (turns === 1) this.#onPassed();
      else this.#passIn(turns - 1);
    });
  }
}
