/**
 * Decides which call a slot serves next. A slot without tasks, the lowest first, is given a batch of each call in turn; a
 * slot with tasks is given more of the same call. An idle slot takes over what waits in a slot that has too many.
 */
import { Queue } from "../system/queue.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import type { Seat, SlotOrder } from "./slot-order.js";
import type { Slot } from "./slot.js";
import type { TaskOwner } from "./task-owner.js";

/** Moving work from one slot to another wakes two processes, which takes about half of this. */
const WORTH_TAKING_MS = 1;
/** A task that was estimated to be shorter, and still has not begun after this time, is moved all the same. */
const OVERDUE_MS = 20;

/** What the pool decides. */
export interface DispatchRules {
  /** Whether the option `concurrency` limits a call to some of the slots. */
  readonly isShared: boolean;
  /** Each child runs one item: none waits in a slot. */
  readonly isOneItem: boolean;
  /** Whether items may be started now. */
  mayRun(): boolean;
  /** Whether a child may be started for this call. */
  mayStart(owner: TaskOwner): boolean;
}

export class Dispatcher {
  /** How many slots may have tasks. */
  size: number;
  readonly #rules: DispatchRules;
  readonly #order: SlotOrder;
  /** Calls that may have tasks for a slot that has none. */
  readonly #hungry = new Queue<Seat>();
  /** Calls that may have tasks for a slot that they run in. */
  readonly #toppable = new Set<Seat>();
  /** Calls for which no child may be started now. */
  readonly #held = new Set<Seat>();
  /** How many of the hungry calls run in no slot. */
  #starving = 0;
  #overdueTimer: NodeJS.Timeout | undefined;
  #isOverdue = false;
  #isDispatching = false;
  #isDue = false;

  constructor(order: SlotOrder, size: number, rules: DispatchRules) {
    this.size = size;
    this.#order = order;
    this.#rules = rules;
  }

  /** Notes that a call may have tasks; `dispatch` asks it for them. */
  wants(owner: TaskOwner): void {
    const seat = this.#order.seatOf(owner);
    if (!seat || seat.wants) return;
    seat.wants = true;
    this.#queue(seat);
    if (seat.ranking.first) this.#toppable.add(seat);
  }

  /** Gives the tasks of calls to slots that have room; called when there may be more of either. */
  dispatch(): void {
    this.#isDue = true;
    // Taking a task can end a call, and the end of a call can free a slot: the loop below runs again for that.
    if (this.#isDispatching || !this.#rules.mayRun()) return;
    this.#isDispatching = true;
    for (const seat of this.#held) this.#queue(seat);
    this.#held.clear();
    while (this.#isDue) {
      this.#isDue = false;
      this.#fillIdle();
      this.#topUp();
      if (this.#takeBack()) this.#isDue = true;
    }
    this.#isDispatching = false;
  }

  /** Puts a slot that has changed where it belongs. */
  refresh(num: number): void {
    const before = this.#order.seatAt(num);
    const seat = this.#order.refresh(num);
    if (before && before !== seat) this.#slotsChanged(before);
    if (!seat) return;
    this.#slotsChanged(seat);
    if (seat.wants) this.#toppable.add(seat);
  }

  /** The call has ended. */
  remove(seat: Seat): void {
    this.#isFed(seat);
  }

  close(): void {
    clearTimeout(this.#overdueTimer);
  }

  /** Gives a batch to each slot without tasks: to the lowest slot first, of each call in turn. */
  #fillIdle(): void {
    for (let seat = this.#hungry.first; seat; seat = this.#hungry.first) {
      if (seat.owner.mayHaveTasks === false) {
        this.#isFed(seat);
        continue;
      }
      if (this.#hasEnough(seat)) {
        this.#leaveQueue(seat);
        continue;
      }
      const slot = this.#idleFor(seat.owner);
      if (slot === "held") {
        this.#leaveQueue(seat);
        this.#held.add(seat);
      } else if (!slot) return;
      else if (this.#serve(seat, slot) && seat.wants) {
        this.#leaveQueue(seat);
        this.#queue(seat);
      }
    }
  }

  /** Gives slots that have tasks more of the same call, if no other call waits for a slot. */
  #topUp(): void {
    for (const seat of this.#toppable) {
      this.#toppable.delete(seat);
      while (seat.wants && !this.#isWaitedFor(seat)) {
        const next = seat.ranking.first;
        if (!next) break;
        const { slot } = next;
        if (slot.roomFor(seat.owner) === 0) this.#order.setAside(slot);
        else this.#serve(seat, slot);
      }
    }
  }

  /** Whether other calls run in no slot: this one's slots then finish what they have, and one of those calls is next. */
  #isWaitedFor(seat: Seat): boolean {
    return this.#starving > (seat.isStarving ? 1 : 0);
  }

  /** Gives a slot a batch of a call; returns whether there was one. */
  #serve(seat: Seat, slot: Slot): boolean {
    const { owner } = seat;
    const tasks = owner.take(slot.roomFor(owner), slot);
    if (tasks.length === 0) {
      this.#isFed(seat);
      return false;
    }
    slot.run(tasks, owner);
    this.refresh(slot.num);
    return true;
  }

  /**
   * Returns the lowest slot without tasks that can run those of this call; "held" if there is one, but a child may not
   * be started for it.
   */
  #idleFor(owner: TaskOwner): Slot | "held" | undefined {
    for (;;) {
      const slot = this.#order.idle(this.size);
      if (!slot || slot.num >= this.size) return undefined;
      if (slot.roomFor(owner) === 0) {
        this.#order.setAside(slot);
        continue;
      }
      if (!slot.isEmpty || this.#rules.mayStart(owner)) return slot;
      const { warm } = this.#order;
      if (!warm || warm.num >= this.size) return "held";
      if (warm.roomFor(owner) > 0) return warm;
      this.#order.setAside(warm);
    }
  }

  #queue(seat: Seat): void {
    if (!seat.wants || this.#hungry.has(seat)) return;
    this.#hungry.push(seat);
    this.#countStarving(seat);
  }

  #leaveQueue(seat: Seat): void {
    this.#hungry.remove(seat);
    this.#countStarving(seat);
  }

  #countStarving(seat: Seat): void {
    const isStarving = seat.slots === 0 && this.#hungry.has(seat);
    if (seat.isStarving === isStarving) return;
    seat.isStarving = isStarving;
    this.#starving += isStarving ? 1 : -1;
  }

  /** The call has no more tasks now. */
  #isFed(seat: Seat): void {
    seat.wants = false;
    this.#leaveQueue(seat);
    this.#held.delete(seat);
    this.#toppable.delete(seat);
  }

  /** A call runs in more or fewer slots than before. */
  #slotsChanged(seat: Seat): void {
    this.#countStarving(seat);
    this.#queue(seat);
  }

  /** If a slot is idle: takes back tasks that wait in the slot in which most of their call wait. Returns whether it did. */
  #takeBack(): boolean {
    if (this.#rules.isOneItem || !this.#order.hasCrowded) return false;
    let isDone = false;
    for (const [seat, busiest] of this.#order.crowded()) {
      const idle = this.#hasEnough(seat) ? undefined : this.#idleFor(seat.owner);
      if (typeof idle !== "object" || !this.#isWorthTaking(seat, busiest)) continue;
      busiest.recall();
      this.refresh(busiest.num);
      isDone = true;
    }
    return isDone;
  }

  #isWorthTaking({ owner }: Seat, busiest: Slot): boolean {
    const count = busiest.waiting(owner);
    if (count === 0) return false;
    const isWorthIt = count * owner.batching.msPerItem >= WORTH_TAKING_MS;
    // A slot that runs nothing yet is about to begin: two slots would keep taking from each other.
    const isAtWork = busiest.load > count;
    if ((isWorthIt && isAtWork) || this.#isOverdue) return true;
    this.#overdueTimer ??= setTimeout(() => this.#lookAgain(), OVERDUE_MS).unref();
    return false;
  }

  #lookAgain(): void {
    this.#overdueTimer = undefined;
    this.#isOverdue = true;
    this.dispatch();
    this.#isOverdue = false;
  }

  /** Whether the call already uses as many slots of a shared pool as its `concurrency` allows. */
  #hasEnough({ owner, slots }: Seat): boolean {
    const { concurrency = Infinity } = owner.options;
    // The size of a call's own pool is its concurrency.
    return this.#rules.isShared && concurrency < this.size && slots >= concurrency;
  }
}
