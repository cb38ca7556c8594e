/**
 * The tasks of one child, from when the child is given them until their outcome is reported or they are given back.
 * Says how many the child has room for; the start and end of the child, and the sending of tasks, are in slot-child.ts.
 */
import { monotonic } from "../system/monotonic.js";
import type { PackedItems } from "../wire/items.js";
import type { Ledger } from "../wire/ledger.js";
import type { Answer, Payload, Start } from "../wire/protocol.js";
import type { Batch, Task } from "../wire/task.js";
import { MAX_BATCH } from "./batching.js";
import { Collector } from "./collector.js";
import type { OutputSource } from "./output/child-output.js";
import { Recall } from "./recall.js";
import type { SlotHost } from "./slot-host.js";
import { TaskList } from "./task-list.js";
import type { TaskOwner } from "./task-owner.js";

/**
 * Where items wait in this process, at least this many do: a child is given its next item before the result of its last
 * one is processed, and results are processed several at a time. Two programs with items that do nothing reach 0.95 to
 * 0.98 of the rate of a loop written by hand; 0.93 with 4, 0.82 with 1, 0.87 with none (bench command, `batch: 1`).
 */
const KEPT_AHEAD = 16;
/** Less than the time between two looks, so that the first look finds an item that began with the first of them. */
const STUCK_MS = 10;

export class ChildTasks {
  readonly list: TaskList;
  readonly collector: Collector;
  readonly #host: SlotHost;
  readonly #num: number;
  readonly #ledger: Ledger;
  readonly #recall: Recall;
  /** The call whose tasks the child has: a child serves one call at a time. Released when the child has no task. */
  readonly #unwanted = new WeakSet<Task>();
  #owner: TaskOwner | undefined;
  /** How many calls the child has served. */
  #owners = 0;
  /** How many tasks the child was given and has not given back. */
  #share = 0;
  /** The child has reported that it takes no more tasks. */
  #isFull = false;

  /** @param onBreach - called when the ledger holds what no child records */
  constructor(start: Start, ledger: Ledger, host: SlotHost, onBreach: (reason: string) => void) {
    this.#host = host;
    this.#num = start.num;
    this.#ledger = ledger;
    this.list = new TaskList(host.capacity);
    this.collector = new Collector(start, this.list, ledger, host.meter, host.capacity, onBreach);
    this.#recall = new Recall(ledger, this.list, this.collector);
  }

  get size(): number {
    return this.list.size;
  }

  get owner(): TaskOwner | undefined {
    return this.#owner;
  }

  /** Whether the child ends by itself after the tasks that it has been given. */
  get isShareUsedUp(): boolean {
    return this.#share >= this.#host.maxItemsPerChild;
  }

  /** Whether the child takes no more tasks. */
  get isFull(): boolean {
    return this.#isFull || this.isShareUsedUp;
  }

  isServing(owner: TaskOwner): boolean {
    return this.size > 0 && this.#owner === owner;
  }

  /**
   * Returns how many tasks of this call the child could take now: one batch to run, and one that is there when the
   * first is done, because it takes a while until the parent knows of that. No task gets stuck: one not begun can be
   * taken back.
   *
   * @param isReady - whether the child can begin a task now
   */
  roomFor(owner: TaskOwner, isReady: boolean): number {
    if (this.#isFull || this.#recall.isPending || this.collector.breach !== undefined) return 0;
    if (this.size > 0 && this.#owner !== owner) return 0;
    const { batching } = owner;
    const batchSize = batching.size;
    const { fibers } = owner.options;
    let ahead = batching.sendsAhead ? batchSize : 0;
    if (this.#host.keepsItems && batching.takesAhead) ahead = Math.max(batchSize, KEPT_AHEAD);
    if (!isReady) ahead = 0;
    if (this.size >= fibers + ahead) return 0;
    const wanted = Math.max(batchSize, fibers - this.size);
    const left = this.#host.maxItemsPerChild - this.#share;
    return Math.min(wanted, left, this.list.room, MAX_BATCH);
  }

  /** Adds a batch, at most as many items as there is room for; returns what to send to the child. */
  add(batch: Batch, packed: PackedItems, owner: TaskOwner, now: number): Payload {
    if (owner !== this.#owner) this.#owners += 1;
    this.#owner = owner;
    this.collector.add(batch, owner, now);
    this.#share += batch.length;
    // Not spread, as this runs for every batch; JSON leaves out what is undefined.
    return {
      seq: packed.seq,
      index: packed.index,
      indexes: packed.indexes,
      attempts: packed.attempts,
      items: packed.items,
      encoded: packed.encoded,
      results: owner.wantsResults,
      fibers: owner.options.fibers,
      stopOnError: owner.endsAtError ? this.#owners : undefined,
      last: this.isShareUsedUp ? true : undefined,
      spin: this.#host.sparesProcessor(this.#num) ? true : undefined,
      read: this.#ledger.read,
    };
  }

  /** Returns how many tasks of this call the child has not begun and could be made to give back. */
  waiting(owner: TaskOwner): number {
    if (this.#recall.isPending || !this.isServing(owner)) return 0;
    return this.size > owner.options.fibers ? this.list.countFrom(this.collector.begun()) : 0;
  }

  /** The first task that the child has not begun; `undefined` if there is none. */
  firstWaiting(): Task | undefined {
    return this.list.firstFrom(this.collector.begun());
  }

  /**
   * Whether the child should give back what it has not begun, because its items take longer than those by which their number
   * was chosen: others that came later would begin earlier in other slots.
   */
  holdsTooMany(): boolean {
    const owner = this.#owner;
    if (!owner || owner.batching.mostAhead === Infinity) return false;
    const waiting = this.waiting(owner);
    return waiting > owner.batching.mostAhead || (waiting > 0 && this.#isStuck());
  }

  /** Whether nothing has begun or ended for a while. */
  #isStuck(): boolean {
    const begun = this.collector.begun();
    if (begun <= this.list.oldest) return false;
    const { lastDoneAt } = this.collector;
    const last = this.list.get(begun - 1) ? this.collector.beginningOf(begun - 1) : lastDoneAt;
    return monotonic() - Math.max(last, lastDoneAt) > STUCK_MS;
  }

  /** Nobody wants the task any more. Returns whether no task that is wanted runs beside it, if it has begun. */
  abort(task: Task): boolean {
    this.#unwanted.add(task);
    if (this.#owner?.options.fibers === 1) return true;
    const running = this.list.upTo(this.collector.begun()).map(([, each]) => each);
    return !running.includes(task) || running.every((each) => this.#unwanted.has(each));
  }

  /** Whether there are tasks, and nobody wants any of them. */
  get areUnwanted(): boolean {
    const tasks = this.list.upTo(this.list.next);
    return tasks.length > 0 && tasks.every(([, each]) => this.#unwanted.has(each));
  }

  /** Takes back all tasks; none of them may have been sent to the child. */
  takeBack(): void {
    this.#giveBack(0);
  }

  /** Takes back the tasks that the child has not begun. Returns `false` if there are none, or while a recall is pending. */
  recall(): boolean {
    if (this.#recall.isPending || this.size === 0) return false;
    const begun = this.#recall.begin();
    if (begun < this.list.next) {
      this.#giveBack(begun);
      return true;
    }
    // The child would acknowledge only once all that it runs has ended. If it has seen the word, it gives back one item.
    this.#recall.acknowledged();
    return false;
  }

  /**
   * Handles an answer of the child. Returns `false` if the child says that all tasks are done but its ledger lacks
   * some.
   *
   * @param isLast - whether it answers the last line that the child was sent; asked after the ledger was read, because the
   * call sends more when it receives results
   * @throws Breach if the child returns tasks that it cannot return
   */
  settle(answer: Answer, isLast: () => boolean): boolean {
    this.collector.collect();
    if (this.collector.taken > 0) this.#recall.madeProgress();
    if (answer.full) this.#isFull = true;
    if (answer.status === "returned") {
      this.#recall.checkReturned(answer);
      this.#giveBack(answer.from, answer.to);
      if (answer.to >= this.list.next) this.#recall.acknowledged();
    } else if (answer.status === "ok" && isLast()) {
      this.#recall.acknowledged();
      return this.size === 0;
    }
    return true;
  }

  /** The child has no task any more. */
  forget(): void {
    this.#owner = undefined;
    this.collector.forget();
  }

  /** Finds the task whose output the child has printed. */
  find(seq: number): ReturnType<OutputSource["find"]> {
    const task = this.list.get(seq);
    return task && { task, owner: this.#owner! };
  }

  /** Returns tasks that were not begun to the call. */
  #giveBack(from: number, to = this.list.next): void {
    const tasks = this.list.takeAll(from, to);
    this.#share -= tasks.length;
    if (tasks.length > 0) this.#owner!.returned(tasks);
  }
}
