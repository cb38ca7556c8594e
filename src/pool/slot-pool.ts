/**
 * A pool: numbered slots, and the calls whose tasks they run. Whenever a slot is free it takes what a call has for
 * it, the lowest num first; so nothing is assigned ahead of time, and a slot is only started when there is work for it.
 * The pool of a `Parallel` is one that lasts; a call with a child per item has one of its own.
 */
import { Deadline } from "../launch/deadline.js";
import * as diagnostics from "../observe/diagnostics.js";
import { MANY_ITEMS, ONE_ITEM } from "../wire/ledger.js";
import type { Launcher, Room } from "../launch/launcher.js";
import { monotonic } from "../system/monotonic.js";
import type { OutputMode } from "../options.js";
import { outside } from "../launch/outside.js";
import { ChildOutput } from "./output/child-output.js";
import { newMark } from "../wire/output-mark.js";
import { isBackedUp, onceDrained } from "./output/printer.js";
import type { LongItem } from "../wire/payload.js";
import type { Limits } from "../options.js";
import type { Meter } from "../observe/stats.js";
import type { TaskOwner } from "./task-owner.js";
import { hasDescriptors } from "../system/shortage.js";
import { warnOfClose } from "../launch/close-warning.js";
import { MemoryGate } from "./memory-gate.js";
import { Slot } from "./slot.js";
import type { SlotHost } from "./slot-host.js";
import type { Pool } from "./pool.js";
import { clearTimeout, setTimeout } from "../system/timers.js";

/** To hand work from one slot to another wakes two processes, which takes about half of it. */
const WORTH_TAKING_MS = 1;
/** What was thought to be less, and has not been begun after so many ms, is more. */
const OVERDUE_MS = 20;

/** So often it is tried again: others may have ended just then. */
const MAX_ALONE = 2;

export interface SlotPoolOptions {
  readonly size: number;
  readonly isShared: boolean;
  /** 1: each child comes with its item. */
  readonly maxItemsPerChild: number;
  readonly maxRss: number | undefined;
  readonly scratchRoot: string | undefined;
  readonly limits: Limits | undefined;
  readonly output: OutputMode;
  /** In ms. */
  readonly closeTimeout: number;
  /** An id for a child, never used before with the same launcher. */
  readonly nextId: () => string;
  readonly meter: Meter;
  /** Name of its class. */
  readonly worker: string;
}

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
  /** So often one after the other a child could not be started while no other had anything to do. */
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
    this.#host = this.#makeHost();
  }

  get size(): number {
    return this.#size;
  }

  /** Slots beyond it end once they have done what they have. */
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

  /** The call is told of the children that outlive it. */
  remove(owner: TaskOwner): void {
    for (const slot of this.#slots) {
      const life = slot.life(monotonic(), "outlives the call");
      if (life) owner.childEnded(life);
    }
    const at = this.#owners.indexOf(owner);
    if (at !== -1) this.#owners.splice(at, 1);
    this.#memory.forget();
  }

  /** Gives what there is to whoever is free; to be called when either may have changed. */
  dispatch(): void {
    this.#isDue = true;
    // Taking a task may end a call, whose end may free a slot.
    if (this.#isDispatching || this.#isPrinting()) return;
    this.#isDispatching = true;
    while (this.#isDue) {
      this.#isDue = false;
      // A batch for each call in turn.
      while (this.#owners.filter((owner) => this.#serve(owner)).length > 0);
      for (const owner of this.#owners) if (this.#takeBack(owner)) this.#isDue = true;
    }
    this.#isDispatching = false;
  }

  /** A long item is done with. */
  releaseItem(item: LongItem): void {
    this.#room.items.release(item);
  }

  /** Kills the children that run tasks of this call. */
  kill(owner: TaskOwner): void {
    for (const slot of this.#slots) if (slot.isServing(owner)) slot.kill();
  }

  /** Takes back what has not been begun of this call's tasks. */
  recall(owner: TaskOwner): void {
    for (const slot of this.#slots) if (slot.isServing(owner)) slot.recall();
  }

  /** Also those that have nothing to do. */
  killAll(): void {
    for (const slot of this.#slots) slot.kill();
  }

  /** Ends all children once they have nothing to do, and removes what is left of them. */
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

  /** Whether lines of items that are done pile up: until they are gone, no others are run. */
  #isPrinting(): boolean {
    const { output } = this.#options;
    const isPrinted = output === "tag" || (output === "inherit" && this.#room.readsStderr === true);
    if (!isPrinted || !isBackedUp()) return false;
    onceDrained(this.#onDrained);
    return true;
  }

  /** The same each time, so that it is called once. */
  readonly #onDrained = (): void => this.dispatch();

  #serve(owner: TaskOwner): boolean {
    const slot = this.#slotFor(owner);
    if (!slot) return false;
    const tasks = owner.take(slot.roomFor(owner));
    if (tasks.length === 0) return false;
    slot.run(tasks, owner);
    return true;
  }

  /** For a slot that has nothing to do: what is waiting in the one that has the most. */
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
    // One that is at nothing yet is about to begin: two slots would go on taking from each other.
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

  /** The one with the fewest tasks, and of those the lowest. */
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

  /** Whether it has as many slots of a pool at work as one call may have. */
  #hasEnough(owner: TaskOwner): boolean {
    const { concurrency = Infinity } = owner.options;
    // A call's own pool has the size that was asked for, and a new one when that is changed.
    if (!this.#options.isShared || concurrency >= this.#size) return false;
    return this.#slots.filter((slot) => slot.isServing(owner)).length >= concurrency;
  }

  get #isEmpty(): boolean {
    return this.#slots.every((slot) => slot.isEmpty);
  }

  #makeHost(): SlotHost {
    const { maxItemsPerChild, maxRss, limits, nextId, meter, worker, output } = this.#options;
    const { directory, readsStderr, descriptors = 0 } = this.#room;
    const isRead = output !== "inherit" || readsStderr === true;
    const isOneItem = maxItemsPerChild === 1;
    const shape = isOneItem ? ONE_ITEM : MANY_ITEMS;
    return {
      isOneItem,
      maxItemsPerChild,
      capacity: shape.times,
      ledger: (num) => this.#room.ledger(num),
      hasDescriptors: () => descriptors === 0 || hasDescriptors(descriptors),
      startOf: (num, generation) => ({
        num,
        generation,
        directory,
        shape,
        name: `${num}-${generation}`,
        ...(limits ? { limits } : {}),
        ...(maxRss === undefined ? {} : { maxRss }),
        ...(isRead ? { mark: newMark() } : {}),
      }),
      launch: (start, events) => outside(() => this.#room.start({ id: nextId(), start }, events)),
      outputOf: ({ mark }, source) => (isRead ? new ChildOutput(output, mark!, source) : undefined),
      directory,
      items: this.#room.items,
      keepsItems: this.#room.keepsItems === true,
      isBusyBeside: (num) => this.#slots.some((each) => each.num !== num && each.load > 0),
      isHopeless: (num) => {
        if (this.#slots.some((each) => each.num !== num && each.load > 0)) return false;
        return (this.#failedAlone += 1) > MAX_ALONE;
      },
      meter,
      onChildStart: (num) => meter.childStarted(num),
      onChildReady: (num, pid) => meter.child(num, pid),
      onChildEnd: (life, hasStarted) => {
        if (hasStarted) this.#failedAlone = 0;
        meter.child(life.num, undefined);
        if (diagnostics.children.hasSubscribers) {
          diagnostics.children.publish({ worker, ...life } satisfies diagnostics.ChildMessage);
        }
        for (const owner of this.#owners) owner.childEnded(life);
      },
      onFree: () => {
        if (this.#onEmpty && this.#isEmpty) this.#onEmpty();
        this.dispatch();
      },
    };
  }
}
