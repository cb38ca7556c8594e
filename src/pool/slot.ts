/**
 * A slot: a place where one child runs at a time. It makes a child when it is given tasks and has none, and another when
 * that one has ended; its num outlives them all. What a child does with its tasks is in slot-child.ts.
 */
import { type PackedItems, packItems } from "../wire/items.js";
import type { Ledger } from "../wire/ledger.js";
import { monotonic } from "../system/monotonic.js";
import { factsOf, failureToSend } from "./outcome.js";
import type { Run, Task } from "../wire/task.js";
import type { TaskOwner } from "./task-owner.js";
import type { ChildLife } from "../observe/diagnostics.js";
import { MAX_BATCH } from "./pace.js";
import { SlotChild } from "./slot-child.js";
import type { SlotHost } from "./slot-host.js";

export class Slot {
  readonly num: number;
  readonly #host: SlotHost;
  #generation = 0;
  #child: SlotChild | undefined;
  #ledger!: Ledger;
  /** It is not wanted any more. */
  #isRetired = false;
  /** It could not have a ledger, a descriptor or a process: it takes no tasks that others could do. */
  #isUnfit = false;
  /** There was no room for what was to be sent ahead: it takes no more until it has none. */
  #isCramped = false;

  constructor(num: number, host: SlotHost) {
    this.num = num;
    this.#host = host;
  }

  get isEmpty(): boolean {
    return this.#child === undefined;
  }

  /** The tasks in its child. */
  get load(): number {
    return this.#child?.load ?? 0;
  }

  isServing(owner: TaskOwner): boolean {
    return this.#child?.isServing(owner) ?? false;
  }

  /** How many tasks of this owner it could take now. */
  roomFor(owner: TaskOwner): number {
    if (this.#isRetired || (this.#isUnfit && this.#host.isBusyBeside(this.num))) return 0;
    if (this.#isCramped && this.load > 0) return 0;
    if (this.#child) return this.#child.roomFor(owner);
    const { maxItemsPerChild, capacity } = this.#host;
    const wanted = Math.max(owner.batching.size, owner.options.fibers);
    return Math.min(wanted, maxItemsPerChild, capacity, MAX_BATCH);
  }

  /** How many tasks of this owner its child has not begun, and could be made to give back. */
  waiting(owner: TaskOwner): number {
    return this.#child?.waiting(owner) ?? 0;
  }

  /** Gives it tasks, at most as many as it has room for. */
  run(tasks: readonly Task[], owner: TaskOwner): void {
    let child: SlotChild | undefined;
    let packed: PackedItems;
    try {
      child = this.#child ?? this.#makeChild();
      if (!child) return owner.returned(tasks);
      packed = packItems(tasks, child.next, this.#host.items);
    } catch (error) {
      this.#refuse(tasks, owner, error);
      return;
    }
    this.#child = child;
    this.#isCramped = false;
    const count = packed.items.length;
    if (count === tasks.length) return child.run(tasks, packed, owner);
    child.run(tasks.slice(0, count), packed, owner);
    // What could not be put in is told of when it comes first.
    owner.returned(tasks.slice(count));
  }

  /** Ends the child with all it runs: `killSignal` first, SIGKILL when it takes too long. */
  kill(signal?: "SIGKILL"): void {
    this.#child?.kill(signal);
  }

  /** Takes back what its child has not begun. */
  recall(): void {
    this.#child?.recall();
  }

  /** Takes no more tasks; its child ends once it has none. */
  retire(): void {
    this.#isRetired = true;
    this.#child?.retire();
  }

  /** Is wanted again. */
  revive(): void {
    this.#isRetired = false;
    this.#child?.revive();
  }

  /** The life of its child so far, if it has one. */
  life(end: number, how: string): ChildLife | undefined {
    return this.#child?.life(end, how);
  }

  /**
   * Not launched yet; `undefined` when that cannot be and others can do the work.
   *
   * @throws when there is nobody else
   */
  #makeChild(): SlotChild | undefined {
    try {
      if (this.#generation === 0) this.#ledger = this.#host.ledger(this.num);
      this.#ledger.reset();
      // The only one tries all the same.
      this.#isUnfit = this.#host.isBusyBeside(this.num) && !this.#host.hasDescriptors();
      if (this.#isUnfit) return undefined;
    } catch (error) {
      this.#isUnfit = true;
      if (this.#host.isBusyBeside(this.num)) return undefined;
      throw error;
    }
    this.#generation += 1;
    const start = this.#host.startOf(this.num, this.#generation);
    return new SlotChild(start, this.#ledger, this.#host, (isScarce) => {
      this.#child = undefined;
      this.#isUnfit = isScarce;
    });
  }

  /**
   * An item that is no JSON value any more ends the call. Else it is a full disk, mostly: it may be better when the others
   * come again, or when what it has is done.
   */
  #refuse(tasks: readonly Task[], owner: TaskOwner, error: unknown): void {
    if (error instanceof TypeError) {
      owner.doomed(error);
      return owner.returned(tasks);
    }
    const [first, ...rest] = tasks;
    if (this.load > 0) {
      this.#isCramped = true;
      return owner.returned(tasks);
    }
    if (rest.length > 0) owner.returned(rest);
    const now = monotonic();
    const run: Run = {
      num: this.num,
      generation: this.#generation,
      pid: this.#child?.pid,
      start: now,
      end: now,
      usage: undefined,
    };
    owner.failed(first!, failureToSend(factsOf(first!, run), error, this.#host.directory), run);
  }
}
