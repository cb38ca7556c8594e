/**
 * The folder holds the place where tasks run: slots, the child in a slot with its tasks and their outcomes, batches,
 * and what children print. Here: a pool of numbered slots, and the calls whose tasks they run.
 *
 * A slot takes tasks only when it is free, the lowest num first: nothing is assigned ahead of time, and a child is only
 * started when there is work for it. A warm pool is shared by all calls of a `Parallel`; without the
 * option `pool`, each call has its own.
 */
import { warnOfClose } from "../launch/close-warning.js";
import { Deadline } from "../launch/deadline.js";
import type { Launcher, Room } from "../launch/launcher.js";
import { monotonic } from "../system/monotonic.js";
import { usableProcessors } from "../system/processor-count.js";
import { MANY_ITEMS, ONE_ITEM } from "../wire/ledger.js";
import type { EncodedItem } from "../wire/payload.js";
import { Dispatcher } from "./dispatcher.js";
import { MemoryGate } from "./memory-gate.js";
import { isBackedUp, onceDrained } from "../launch/printer.js";
import type { Pool } from "./pool.js";
import { makeSlotHost, type SlotPoolOptions } from "./slot-host.js";
import { SlotOrder } from "./slot-order.js";
import type { TaskOwner } from "./task-owner.js";

/** How often a start is tried again while no other slot has tasks: what ended just then may have freed the resource. */
const MAX_ALONE = 2;
/** Read with this module, which is loaded while the fork server starts; later, the first result would wait for it. */
const PROCESSORS = usableProcessors();

export class SlotPool implements Pool {
  readonly #room: Room;
  readonly #options: SlotPoolOptions;
  readonly #order: SlotOrder;
  readonly #dispatcher: Dispatcher;
  /** Calls that are told of each child that ends. */
  readonly #observers = new Set<TaskOwner>();
  readonly #memory = new MemoryGate(
    () => !this.#order.isEmpty,
    () => this.dispatch(),
  );
  /** How often in a row a child could not be started while no other slot had a task. */
  #failedAlone = 0;
  #onEmpty: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  static async open(launcher: Launcher, options: SlotPoolOptions): Promise<SlotPool> {
    const { scratchRoot, maxItemsPerChild } = options;
    const isOneItem = maxItemsPerChild === 1;
    const shape = isOneItem ? ONE_ITEM : MANY_ITEMS;
    const room = await launcher.makeRoom({ scratchRoot, shape, hasChannels: !isOneItem });
    return new SlotPool(room, options);
  }

  private constructor(room: Room, options: SlotPoolOptions) {
    this.#room = room;
    this.#options = options;
    const host = makeSlotHost(room, options, {
      isBusyBeside: (num) => this.#order.busyBeside(num) > 0,
      sparesProcessor: (num) => this.#order.busyBeside(num) + 1 < PROCESSORS,
      isHopeless: (num) => {
        if (this.#order.busyBeside(num) > 0) return false;
        return (this.#failedAlone += 1) > MAX_ALONE;
      },
      onChildEnd: (life, hasStarted) => {
        if (hasStarted) this.#failedAlone = 0;
        for (const owner of this.#observers) owner.childEnded(life);
      },
      onFree: (num) => {
        this.#dispatcher.refresh(num);
        if (this.#onEmpty && this.#order.isEmpty) this.#onEmpty();
        this.dispatch();
      },
    });
    this.#order = new SlotOrder(host);
    const { size, isShared } = options;
    const { isOneItem } = host;
    this.#dispatcher = new Dispatcher(this.#order, size, {
      isShared,
      isOneItem,
      mayRun: () => !this.#isPrinting(),
      mayStart: (owner) => this.#memory.isOpen(owner),
    });
  }

  get size(): number {
    return this.#dispatcher.size;
  }

  /** Slots from this number on end once they have done their tasks. */
  set size(size: number) {
    this.#dispatcher.size = size;
    for (const slot of this.#order.slots()) {
      if (slot.num < size) {
        slot.revive();
      } else {
        slot.recall();
        slot.retire();
      }
      this.#dispatcher.refresh(slot.num);
    }
    this.dispatch();
  }

  add(owner: TaskOwner): void {
    this.#order.add(owner);
    if (owner.observesChildren) this.#observers.add(owner);
  }

  /** Removes a call, after it has been notified of the children that outlive it. */
  remove(owner: TaskOwner): void {
    if (this.#observers.delete(owner)) {
      for (const slot of this.#order.slots()) {
        const life = slot.life(monotonic(), "outlives the call");
        if (life) owner.childEnded(life);
      }
    }
    const seat = this.#order.remove(owner);
    if (seat) this.#dispatcher.remove(seat);
    this.#memory.forget();
  }

  /** Notes that a call may have tasks; `dispatch` asks it for them. */
  wants(owner: TaskOwner): void {
    this.#dispatcher.wants(owner);
  }

  /** Gives the tasks of calls to slots that have room; called when there may be more of either. */
  dispatch(): void {
    this.#dispatcher.dispatch();
  }

  /** Releases a long item that will not be run any more. */
  releaseItem(item: EncodedItem): void {
    this.#room.items.release(item);
  }

  /** Kills the children that run tasks of this call. */
  kill(owner: TaskOwner): void {
    for (const slot of this.#order.slotsOf(owner)) slot.kill();
  }

  /** Takes back the tasks of this call that no child has begun. */
  recall(owner: TaskOwner): void {
    for (const slot of this.#order.slotsOf(owner)) {
      slot.recall();
      this.#dispatcher.refresh(slot.num);
    }
  }

  /** Kills all children, idle ones as well. */
  killAll(): void {
    for (const slot of this.#order.slots()) slot.kill();
  }

  /** Ends each child once it is idle, then removes the scratch directory. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#memory.close();
    this.#dispatcher.close();
    for (const slot of this.#order.slots()) slot.retire();
    if (!this.#order.isEmpty) {
      const deadline = new Deadline(this.#options.closeTimeout, () => this.#killLate());
      await new Promise<void>((resolve) => (this.#onEmpty = resolve));
      deadline.clear();
    }
    await this.#room.remove();
  }

  #killLate(): void {
    const { worker } = this.#options;
    for (const slot of this.#order.slots()) {
      const life = slot.life(monotonic(), "");
      if (!life) continue;
      warnOfClose(
        `teardown() or an "exit" listener of ${worker} (num ${life.num}, pid ${life.pid})`,
      );
      slot.kill("SIGKILL");
    }
  }

  /** Whether the output of finished items waits for a slow reader: no other items are run until it is written. */
  #isPrinting(): boolean {
    const { output } = this.#options;
    const isPrinted = output === "tag" || (output === "inherit" && this.#room.readsStderr === true);
    if (!isPrinted || !isBackedUp()) return false;
    onceDrained(this.#onDrained);
    return true;
  }

  /** One function, so that a set of callbacks holds it once. */
  readonly #onDrained = (): void => this.dispatch();
}
