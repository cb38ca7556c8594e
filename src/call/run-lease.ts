/** The pool of the `run` calls: opened for the first item, and released when none is under way, unless all calls share it. */
import type { TaskOwner } from "../pool/task-owner.js";
import { setImmediate } from "../system/timers.js";
import type { EncodedItem } from "../wire/payload.js";
import { AbortGate } from "./abort-gate.js";
import type { Call } from "./call.js";
import { holdingLoop } from "../launch/loop-hold.js";
import { PoolLease } from "./pool-lease.js";

export interface RunLeaseEvents {
  /** Returns whether items are under way. */
  isNeeded(): boolean;
  /** The pool cannot be opened: the items that wait fail. */
  onError(error: unknown): void;
}

export class RunLease {
  readonly #makeLease: () => PoolLease;
  readonly #isKept: boolean;
  readonly #events: RunLeaseEvents;
  readonly #gate = new AbortGate();
  #lease: PoolLease | undefined;
  #opening: Promise<void> | undefined;
  #releasing: Promise<void> | undefined;

  /**
   * @param call - how a pool is opened and released
   * @param isKept - whether the pool stays open when it is not needed
   */
  constructor(
    call: Pick<Call, "ready" | "open" | "release">,
    owner: TaskOwner,
    isKept: boolean,
    events: RunLeaseEvents,
  ) {
    this.#makeLease = () => new PoolLease(call, owner);
    this.#isKept = isKept;
    this.#events = events;
  }

  /** Whether there is a pool that would take tasks now, if it has room for some. */
  get takesTasks(): boolean {
    return this.#lease?.takesTasks ?? false;
  }

  /** Lets the pool take tasks; opens it if necessary. */
  dispatch(): void {
    if (this.#lease) this.#lease.dispatch();
    else this.#opening = this.#open();
  }

  /** Notes that there may be tasks, which the pool takes when it next dispatches. */
  wants(): void {
    this.#lease?.wants();
  }

  kill(): void {
    this.#gate.abort();
    this.#lease?.kill();
  }

  releaseItem(item: EncodedItem): void {
    this.#lease?.releaseItem(item);
  }

  /** No item is under way. A caller that awaits one after the other asks for the next in this turn of the event loop. */
  rest(): void {
    if (this.#isKept) return;
    setImmediate(() => {
      // If it fails, `close` tells.
      if (!this.#events.isNeeded()) this.close().catch(() => {});
    });
  }

  /** Releases the pool if it is not needed; resolves once it is gone, or was left open. */
  async close(): Promise<void> {
    await this.#opening;
    const lease = this.#lease;
    if (lease?.isOpen && !this.#isKept && !this.#events.isNeeded()) {
      this.#lease = undefined;
      this.#releasing = holdingLoop(() => lease.release());
    }
    await this.#releasing;
  }

  async #open(): Promise<void> {
    const { isNeeded, onError } = this.#events;
    const lease = (this.#lease = this.#makeLease());
    const releaseLease = () => {
      if (this.#lease === lease) this.#lease = undefined;
    };
    await this.#releasing?.catch(() => {});
    const end = {
      get isStopped() {
        return !isNeeded();
      },
      stop: (error: unknown) => {
        releaseLease();
        onError(error);
      },
    };
    await lease.open(end, { unlessAborted: (promise) => this.#gate.pass(promise) });
    if (!lease.isOpen) releaseLease();
    if (!isNeeded()) this.rest();
    else if (!this.#lease) await this.#open();
  }
}
