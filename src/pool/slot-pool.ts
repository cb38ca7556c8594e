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
import { clearTimeout, setTimeout } from "../system/timers.js";
import { MANY_ITEMS, ONE_ITEM } from "../wire/ledger.js";
import type { LongItem } from "../wire/payload.js";
import { MemoryGate } from "./memory-gate.js";
import { isBackedUp, onceDrained } from "./output/printer.js";
import type { Pool } from "./pool.js";
import { makeSlotHost, type SlotHost, type SlotPoolOptions } from "./slot-host.js";
import { Slot } from "./slot.js";
import type { TaskOwner } from "./task-owner.js";

/** Moving work from one slot to another wakes two processes, which takes about half of this. */
const WORTH_TAKING_MS = 1;
/** A task that was estimated to be shorter, and still has not begun after this time, is moved all the same. */
const OVERDUE_MS = 20;

/** How often a start is tried again while no other slot has tasks: what ended just then may have freed the resource. */
const MAX_ALONE = 2;

export class SlotPool implements Pool {
  readonly #room: Room;
  readonly #options: SlotPoolOptions;
  readonly #slots: Slot[] = [];
  readonly #owners: TaskOwner[] = [];
  readonly #host: SlotHost;
  readonly #memory = new MemoryGate(
    () => !this.#isEmpty,
    () => this.dispatch(),
  );
  #size: number;
  #overdueTimer: NodeJS.Timeout | undefined;
  #isOverdue = false;
  #isDispatching = false;
  #isDue = false;
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
    this.#size = options.size;
    this.#host = makeSlotHost(room, options, {
      isBusyBeside: (num) => this.#isBusyBeside(num),
      isHopeless: (num) => {
        if (this.#isBusyBeside(num)) return false;
        return (this.#failedAlone += 1) > MAX_ALONE;
      },
      onChildEnd: (life, hasStarted) => {
        if (hasStarted) this.#failedAlone = 0;
        for (const owner of this.#owners) owner.childEnded(life);
      },
      onFree: () => {
        if (this.#onEmpty && this.#isEmpty) this.#onEmpty();
        this.dispatch();
      },
    });
  }

  get size(): number {
    return this.#size;
  }

  /** Slots from this number on end once they have done their tasks. */
  set size(size: number) {
    this.#size = size;
    for (const slot of this.#slots) {
      if (slot.num < size) {
        slot.revive();
      } else {
        slot.recall();
        slot.retire();
      }
    }
    this.dispatch();
  }

  add(owner: TaskOwner): void {
    this.#owners.push(owner);
  }

  /** Removes a call, after it has been notified of the children that outlive it. */
  remove(owner: TaskOwner): void {
    for (const slot of this.#slots) {
      const life = slot.life(monotonic(), "outlives the call");
      if (life) owner.childEnded(life);
    }
    const at = this.#owners.indexOf(owner);
    if (at !== -1) this.#owners.splice(at, 1);
    this.#memory.forget();
  }

  /** Gives waiting tasks to free slots; called when there may be more of either. */
  dispatch(): void {
    this.#isDue = true;
    // Taking a task can end a call, and the end of a call can free a slot: the loop below runs again for that.
    if (this.#isDispatching || this.#isPrinting()) return;
    this.#isDispatching = true;
    while (this.#isDue) {
      this.#isDue = false;
      // One batch for each call in turn.
      while (this.#owners.filter((owner) => this.#serve(owner)).length > 0);
      for (const owner of this.#owners) if (this.#takeBack(owner)) this.#isDue = true;
    }
    this.#isDispatching = false;
  }

  /** Releases a long item that will not be run any more. */
  releaseItem(item: LongItem): void {
    this.#room.items.release(item);
  }

  /** Kills the children that run tasks of this call. */
  kill(owner: TaskOwner): void {
    for (const slot of this.#slots) if (slot.isServing(owner)) slot.kill();
  }

  /** Takes back the tasks of this call that no child has begun. */
  recall(owner: TaskOwner): void {
    for (const slot of this.#slots) if (slot.isServing(owner)) slot.recall();
  }

  /** Kills all children, idle ones as well. */
  killAll(): void {
    for (const slot of this.#slots) slot.kill();
  }

  /** Ends each child once it is idle, then removes the scratch directory. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#memory.close();
    clearTimeout(this.#overdueTimer);
    for (const slot of this.#slots) slot.retire();
    if (!this.#isEmpty) {
      const deadline = new Deadline(this.#options.closeTimeout, () => this.#killLate());
      await new Promise<void>((resolve) => (this.#onEmpty = resolve));
      deadline.clear();
    }
    await this.#room.remove();
  }

  #killLate(): void {
    const { worker } = this.#options;
    for (const slot of this.#slots) {
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

  #serve(owner: TaskOwner): boolean {
    const slot = this.#slotFor(owner);
    if (!slot) return false;
    const tasks = owner.take(slot.roomFor(owner));
    if (tasks.length === 0) return false;
    slot.run(tasks, owner);
    return true;
  }

  /** If a slot is idle: takes back the tasks that wait in the slot that has most of them. Returns whether it did. */
  #takeBack(owner: TaskOwner): boolean {
    if (this.#host.isOneItem || this.#slotFor(owner)?.load !== 0) return false;
    let busiest: Slot | undefined;
    let most = 0;
    for (const slot of this.#slots) {
      const count = slot.waiting(owner);
      if (count > most) [busiest, most] = [slot, count];
    }
    if (!busiest) return false;
    const isWorthIt = most * owner.batching.msPerItem >= WORTH_TAKING_MS;
    // A slot that runs nothing yet is about to begin: two slots would keep taking from each other.
    const isAtWork = busiest.load > most;
    if (!(isWorthIt && isAtWork) && !this.#isOverdue) {
      this.#overdueTimer ??= setTimeout(() => this.#lookAgain(), OVERDUE_MS).unref();
      return false;
    }
    busiest.recall();
    return true;
  }

  #lookAgain(): void {
    this.#overdueTimer = undefined;
    this.#isOverdue = true;
    this.dispatch();
    this.#isOverdue = false;
  }

  /** Returns the slot with the fewest tasks that has room; among equals, the lowest. */
  #slotFor(owner: TaskOwner): Slot | undefined {
    const hasEnough = this.#hasEnough(owner);
    let best: Slot | undefined;
    let mayStart: boolean | undefined;
    for (let num = 0; num < this.#size; num += 1) {
      if (mayStart === false && !this.#slots[num]) break;
      const slot = (this.#slots[num] ??= new Slot(num, this.#host));
      if (hasEnough && !slot.isServing(owner)) continue;
      if (slot.roomFor(owner) === 0 || (best && slot.load >= best.load)) continue;
      if (slot.isEmpty && !(mayStart ??= this.#memory.isOpen(owner))) continue;
      best = slot;
      if (best.load === 0) break;
    }
    return best;
  }

  /** Whether the call already uses as many slots of a shared pool as its `concurrency` allows. */
  #hasEnough(owner: TaskOwner): boolean {
    const { concurrency = Infinity } = owner.options;
    // The size of a call's own pool is its concurrency.
    if (!this.#options.isShared || concurrency >= this.#size) return false;
    return this.#slots.filter((slot) => slot.isServing(owner)).length >= concurrency;
  }

  #isBusyBeside(num: number): boolean {
    return this.#slots.some((each) => each.num !== num && each.load > 0);
  }

  get #isEmpty(): boolean {
    return this.#slots.every((slot) => slot.isEmpty);
  }
}
