/** The pool in which the tasks of a call run, from the first item until the call has ended. */
import type { Pool } from "../pool/pool.js";
import type { TaskOwner } from "../pool/task-owner.js";
import type { LongItem } from "../wire/payload.js";
import type { Call } from "./call.js";

export class PoolLease {
  readonly #owner: TaskOwner;
  #call: Pick<Call, "ready" | "open" | "release"> | undefined;
  #pool: Pool | undefined;
  #isOpening = false;

  constructor(call: Pick<Call, "ready" | "open" | "release">, owner: TaskOwner) {
    this.#call = call;
    this.#owner = owner;
  }

  get isOpen(): boolean {
    return this.#pool !== undefined;
  }

  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Tasks that can run at once, `fibers` aside. */
  get size(): number {
    return this.#pool?.size ?? 1;
  }

  /**
   * Opens the pool, which then takes tasks from the call.
   *
   * @param until - waits for what the pool needs, at most until the call is aborted
   * @param isWanted - whether the call still needs the pool then
   * @param onError - called with what keeps the pool from opening
   */
  async open(
    until: (needed: Promise<unknown>) => Promise<unknown>,
    isWanted: () => boolean,
    onError: (error: unknown) => void,
  ): Promise<void> {
    this.#isOpening = true;
    try {
      await until(this.#call!.ready());
      if (isWanted()) {
        this.#pool = await this.#call!.open();
        this.#pool.add(this.#owner);
        this.#pool.dispatch();
      }
    } catch (error) {
      // The call must not try to open it once more before it knows of the error.
      onError(error);
    }
    this.#isOpening = false;
  }

  /** Lets the pool take tasks; called when there may be some. */
  dispatch(): void {
    this.#pool?.dispatch();
  }

  /** Kills the children that run tasks of the call. */
  kill(): void {
    this.#pool?.kill(this.#owner);
  }

  /** Takes back the tasks that no child has begun. */
  recall(): void {
    this.#pool?.recall(this.#owner);
  }

  releaseItem(item: LongItem): void {
    this.#pool?.releaseItem(item);
  }

  async release(): Promise<void> {
    const call = this.#call!;
    this.#call = undefined;
    if (this.#pool) await call.release(this.#pool, this.#owner);
  }
}
