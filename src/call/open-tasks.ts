/** The tasks of a call that are neither done nor given up: counts them, and keeps the program alive while there are any. */
import type { CallRecorder } from "./call-recorder.js";
import { LoopHold } from "../launch/loop-hold.js";

export class OpenTasks {
  /** Keeps the program from ending in the middle of the call. */
  readonly hold = new LoopHold();
  readonly #recorder: CallRecorder;
  readonly #isStream: boolean;
  #count = 0;

  constructor(recorder: CallRecorder, isStream: boolean) {
    this.#recorder = recorder;
    this.#isStream = isStream;
  }

  get areNone(): boolean {
    return this.#count === 0;
  }

  add(count: number): void {
    this.#count += count;
  }

  /** A task is done, or given up. */
  remove(): void {
    this.#count -= 1;
    this.#recorder.inFlight(this.#count);
    if (this.#count === 0) this.#holdLoop();
  }

  /** All tasks that were taken at once have been added. */
  added(): void {
    this.#holdLoop();
    this.#recorder.inFlight(this.#count);
  }

  /**
   * Without open tasks a stream does not keep the program alive: its reader may have stopped reading. A reader that waits
   * has a hold of its own (result-stream.ts).
   */
  #holdLoop(): void {
    if (this.#count > 0) this.hold.take();
    else if (this.#isStream) this.hold.release();
  }
}
