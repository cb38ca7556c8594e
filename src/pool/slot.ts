/**
 * A slot: a place where one child runs at a time. A slot without a child makes one when it is given tasks; its num
 * outlives all its children. What a child does with its tasks is in slot-child.ts.
 */
import type { ChildLife } from "../observe/diagnostics.js";
import { monotonic } from "../system/monotonic.js";
import { type PackedItems, packItems } from "../wire/items.js";
import type { Ledger } from "../wire/ledger.js";
import { type Batch, type Run, type Task, tasksOf } from "../wire/task.js";
import { MAX_BATCH } from "./batching.js";
import { factsOf, failureToSend } from "./outcome.js";
import { SlotChild } from "./slot-child.js";
import type { SlotHost } from "./slot-host.js";
import type { TaskOwner, TaskPlace } from "./task-owner.js";

export class Slot implements TaskPlace {
  readonly num: number;
  readonly #host: SlotHost;
  #generation = 0;
  #child: SlotChild | undefined;
  #ledger!: Ledger;
  /** The slot is not wanted any more. */
  #isRetired = false;
  /** No ledger, file descriptor or process was available: the slot takes no tasks while other slots can run them. */
  #isUnfit = false;
  /** There was no room for items to be sent ahead: the slot takes no more until its child has none. */
  #isCramped = false;

  constructor(num: number, host: SlotHost) {
    this.num = num;
    this.#host = host;
  }

  get isEmpty(): boolean {
    return this.#child === undefined;
  }

  /** How many tasks its child has. */
  get load(): number {
    return this.#child?.load ?? 0;
  }

  /** The call whose tasks its child has. */
  get owner(): TaskOwner | undefined {
    return this.#child?.owner;
  }

  /** Returns how many tasks of this call the slot could take now. */
  roomFor(owner: TaskOwner): number {
    if (this.#isRetired || (this.#isUnfit && this.#host.isBusyBeside(this.num))) return 0;
    if (this.#isCramped && this.load > 0) return 0;
    if (this.#child) return this.#child.roomFor(owner);
    const { maxItemsPerChild, capacity } = this.#host;
    const wanted = Math.max(owner.batching.size, owner.options.fibers);
    return Math.min(wanted, maxItemsPerChild, capacity, MAX_BATCH);
  }

  /** Returns how many tasks of this call its child has not begun and could be made to give back. */
  waiting(owner: TaskOwner): number {
    return this.#child?.waiting(owner) ?? 0;
  }

  /** Gives the slot tasks, at most as many as it has room for. */
  run(batch: Batch, owner: TaskOwner): void {
    let child: SlotChild | undefined;
    let packed: PackedItems;
    try {
      child = this.#child ?? this.#makeChild();
      if (!child) return owner.returned(tasksOf(batch));
      packed = packItems(
        batch,
        child.tasks.list.next,
        this.#host.items,
        owner.options.serialization,
      );
    } catch (error) {
      this.#refuse(tasksOf(batch), owner, error);
      return;
    }
    this.#child = child;
    this.#isCramped = false;
    const count = packed.items.length;
    if (count === batch.length) return child.run(batch, packed, owner);
    const tasks = tasksOf(batch);
    child.run(tasks.slice(0, count), packed, owner);
    // An item that does not fit is returned; it fails only when it is the first of a batch.
    owner.returned(tasks.slice(count));
  }

  /** Ends the child with all it runs: by `killSignal` and then SIGKILL, or by SIGKILL at once. */
  kill(signal?: "SIGKILL"): void {
    this.#child?.kill(signal);
  }

  abort(task: Task): void {
    this.#child?.abort(task);
  }

  firstWaiting(): Task | undefined {
    return this.#child?.tasks.firstWaiting();
  }

  /** Takes back the tasks that its child has not begun. */
  recall(): void {
    this.#child?.recall();
  }

  /** Takes no more tasks; the child ends once it has none. */
  retire(): void {
    this.#isRetired = true;
    this.#child?.retire(true);
  }

  /** The slot is wanted again. */
  revive(): void {
    this.#isRetired = false;
    this.#child?.retire(false);
  }

  /** Returns the life of its child so far, if it has one. */
  life(end: number, how: string): ChildLife | undefined {
    return this.#child?.life(end, how);
  }

  /**
   * Makes a child without launching it; `undefined` if that is impossible and other slots can run the tasks.
   *
   * @throws if it is impossible and no other slot is busy
   */
  #makeChild(): SlotChild | undefined {
    try {
      if (this.#generation === 0) this.#ledger = this.#host.ledger(this.num);
      this.#ledger.reset();
      // If no other slot is busy, the child is tried all the same.
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
   * Handles items that could not be packed. One that can no longer travel ends the call. Any other cause is
   * usually ENOSPC: the tasks are tried again after running items have freed their files; if none runs, only the first
   * fails.
   */
  #refuse(tasks: readonly Task[], owner: TaskOwner, error: unknown): void {
    if (error instanceof TypeError) {
      owner.doomed(error, tasks[0]);
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
