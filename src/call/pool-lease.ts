/** The pool in which the tasks of a call run, from the first item until the call has ended. */
import type { Pool } from "../pool/pool.js";
import type { TaskOwner } from "../pool/task-owner.js";
import type { EncodedItem } from "../wire/payload.js";
import type { CallEnd } from "./call-end.js";
import type { Call } from "./call.js";
import type { Delivery } from "./delivery.js";

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

  /** Whether the pool would take tasks now, if it has room for some. */
  get takesTasks(): boolean {
    return this.#pool !== undefined && this.#pool.isResting !== true;
  }

  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Tasks that can run at once, `fibers` aside. */
  get size(): number {
    return this.#pool?.size ?? 1;
  }

  /** How many ms of work a batch should be; by default as many as suit a child of this process. */
  get batchMs(): number | undefined {
    return this.#pool?.batchMs;
  }

  get indivisibleMs(): number | undefined {
    return this.#pool?.indivisibleMs;
  }

  /** Opens the pool, which then takes tasks from the call. An error, or an abort of the wait, ends the attempt. */
  async open(
    end: Pick<CallEnd, "isStopped" | "stop">,
    delivery: Pick<Delivery, "unlessAborted">,
  ): Promise<void> {
    this.#isOpening = true;
    try {
      await delivery.unlessAborted(this.#call!.ready());
      if (!end.isStopped) {
        this.#pool = await this.#call!.open();
        this.#pool.add(this.#owner);
        this.dispatch();
      }
    } catch (error) {
      // The call must not try to open the pool once more before it knows of the error.
      end.stop(error);
    }
    this.#isOpening = false;
  }

  /** Lets the pool take tasks; called when there may be some. */
  dispatch(): void {
    this.wants();
    this.#pool?.dispatch();
  }

  /** Notes that there may be tasks, which the pool takes when it next dispatches. */
  wants(): void {
    this.#pool?.wants(this.#owner);
  }

  /** Kills the children that run tasks of the call. */
  kill(): void {
    this.#pool?.kill(this.#owner);
  }

  /** Takes back the tasks that no child has begun. */
  recall(): void {
    this.#pool?.recall(this.#owner);
  }

  releaseItem(item: EncodedItem): void {
    this.#pool?.releaseItem(item);
  }

  async release(): Promise<void> {
    const call = this.#call!;
    this.#call = undefined;
    if (this.#pool) await call.release(this.#pool, this.#owner);
  }
}
