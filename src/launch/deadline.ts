/**
 * A time limit on another process. Node runs timers before it reads what has arrived, and a program that was busy or
 * stopped finds both due at once. A deadline therefore passes only after the event loop has read what has arrived.
 */
import { clearImmediate, clearTimeout, setImmediate, setTimeout } from "../system/timers.js";
import { outside } from "./outside.js";

/** Node reports a process's end one turn of the event loop after reading it, the end of its channel one turn later. */
const TURNS = 3;

export class Deadline {
  readonly #onPassed: () => void;
  readonly #timer: NodeJS.Timeout;
  #turn: NodeJS.Immediate | undefined;

  /** @param onPassed - called outside any call's context, as it may outlive the call; keeps no program alive */
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
