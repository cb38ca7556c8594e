/**
 * Which slots a pool has, and which of them is next: for a call that has no slot, and for one that runs in some. Nothing
 * is searched for: a slot is put in its place whenever it has changed, so an item costs the same whatever the number of
 * slots and calls.
 */
import { Link } from "../system/queue.js";
import { RankedSlot, SlotRanking } from "./slot-ranking.js";
import { Slot } from "./slot.js";
import type { SlotHost } from "./slot-host.js";
import type { TaskOwner } from "./task-owner.js";

/** A call in a pool. */
export class Seat extends Link {
  readonly owner: TaskOwner;
  /** The call may have tasks to run. */
  wants = false;
  /** How many slots run its tasks. */
  slots = 0;
  /** It has tasks and runs in no slot. */
  isStarving = false;
  /** Those of them that may have room for more. */
  readonly ranking = new SlotRanking();

  constructor(owner: TaskOwner) {
    super();
    this.owner = owner;
  }
}

class Entry extends RankedSlot {
  seat: Seat | undefined;
  isBusy = false;
  isEmpty = true;
}

export class SlotOrder {
  readonly #host: SlotHost;
  readonly #entries: Entry[] = [];
  readonly #seats = new Map<TaskOwner, Seat>();
  /** Slots whose child has no task. */
  readonly #warm = new SlotRanking();
  /** Slots without a child. */
  readonly #cold = new SlotRanking();
  /** Slots without a child that lacked a resource for one: not used while another slot is busy. */
  readonly #unfit = new Set<Entry>();
  /** Slots that have more tasks than they run at once. */
  readonly #crowded = new Set<Entry>();
  #busy = 0;
  #children = 0;

  constructor(host: SlotHost) {
    this.#host = host;
  }

  /** All slots that were ever used. */
  *slots(): Iterable<Slot> {
    for (const { slot } of this.#entries) yield slot;
  }

  /** Whether no slot has a child. */
  get isEmpty(): boolean {
    return this.#children === 0;
  }

  /** How many slots other than this have tasks. */
  busyBeside(num: number): number {
    return this.#busy - (this.#entries[num]?.isBusy ? 1 : 0);
  }

  add(owner: TaskOwner): Seat {
    const seat = new Seat(owner);
    this.#seats.set(owner, seat);
    return seat;
  }

  seatOf(owner: TaskOwner): Seat | undefined {
    return this.#seats.get(owner);
  }

  remove(owner: TaskOwner): Seat | undefined {
    const seat = this.#seats.get(owner);
    this.#seats.delete(owner);
    return seat;
  }

  /** The slots that run tasks of this call. */
  slotsOf(owner: TaskOwner): Slot[] {
    if (!this.#seats.get(owner)?.slots) return [];
    return this.#entries.filter(({ seat }) => seat?.owner === owner).map(({ slot }) => slot);
  }

  /** Returns the lowest slot below `size` that has no tasks, if there may be one. */
  idle(size: number): Slot | undefined {
    const warm = this.#warm.first?.slot;
    const cold = this.#cold.first?.slot ?? this.#fresh(size);
    return cold === undefined || (warm && warm.num < cold.num) ? warm : cold;
  }

  /** Returns the lowest slot that has a child without tasks, if there may be one. */
  get warm(): Slot | undefined {
    return this.#warm.first?.slot;
  }

  /** The slot takes no tasks now: sets it aside until it changes. */
  setAside({ num }: Slot): void {
    const entry = this.#entries[num]!;
    entry.ranking?.remove(entry);
    if (entry.isEmpty) this.#unfit.add(entry);
  }

  /** The call whose tasks the slot ran when it was last looked at. */
  seatAt(num: number): Seat | undefined {
    return this.#entries[num]!.seat;
  }

  get hasCrowded(): boolean {
    return this.#crowded.size > 0;
  }

  /** Calls that have more tasks in slots than these run at once, each with the slot in which most could be taken back. */
  crowded(): Map<Seat, Slot> {
    const most = new Map<Seat, Slot>();
    for (const { seat, slot } of this.#crowded) {
      const other = most.get(seat!);
      if (!other || slot.waiting(seat!.owner) > other.waiting(seat!.owner)) most.set(seat!, slot);
    }
    return most;
  }

  /** Puts a slot where it belongs now; returns the call that it runs tasks of. */
  refresh(num: number): Seat | undefined {
    const entry = this.#entries[num]!;
    const { slot } = entry;
    const { load, isEmpty } = slot;
    const seat = load > 0 ? this.#seats.get(slot.owner!) : undefined;
    this.#count(entry, load > 0, isEmpty);
    if (entry.seat !== seat) {
      if (entry.seat) entry.seat.slots -= 1;
      if (seat) seat.slots += 1;
      entry.seat = seat;
    }
    if (seat && load > seat.owner.options.fibers) this.#crowded.add(entry);
    else this.#crowded.delete(entry);
    this.#unfit.delete(entry);
    const ranking = load > 0 ? seat?.ranking : isEmpty ? this.#cold : this.#warm;
    if (ranking) ranking.place(entry, load);
    else entry.ranking?.remove(entry);
    return seat;
  }

  #count(entry: Entry, isBusy: boolean, isEmpty: boolean): void {
    if (entry.isEmpty !== isEmpty) this.#children += isEmpty ? -1 : 1;
    if (entry.isBusy !== isBusy) this.#busy += isBusy ? 1 : -1;
    entry.isEmpty = isEmpty;
    entry.isBusy = isBusy;
    if (this.#busy > 0 || this.#unfit.size === 0) return;
    // No slot will free the resource that these lacked: they are tried all the same.
    for (const unfit of this.#unfit) this.#cold.place(unfit, 0);
    this.#unfit.clear();
  }

  /** Makes the slot with the next num, below `size`. */
  #fresh(size: number): Slot | undefined {
    const num = this.#entries.length;
    if (num >= size) return undefined;
    const entry = new Entry(new Slot(num, this.#host));
    this.#entries.push(entry);
    this.#cold.place(entry, 0);
    return entry.slot;
  }
}
