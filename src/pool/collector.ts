/**
 * Collects from a child's ledger what became of its tasks, and reports it to the call that owns them: whenever the
 * child has said that there are new entries, and once more when the child has ended.
 */
import type { Usage } from "../errors.js";
import type { Child, ChildEnd } from "../launch/launcher.js";
import type { Meter } from "../observe/stats.js";
import { monotonic } from "../system/monotonic.js";
import { Breach } from "../wire/breach.js";
import { type Entry, isResult, isSuccess, isThrottled, type Ledger } from "../wire/ledger.js";
import { sizeOf } from "../wire/payload.js";
import type { Ending, LastWord, Start } from "../wire/protocol.js";
import { justRun } from "../wire/task.js";
import type { Batch, Failure, Printed, Run, Runs, Task } from "../wire/task.js";
import { type CheckedHandler, CheckedLedger } from "./checked-ledger.js";
import * as outcome from "./outcome.js";
import type { ChildOutput } from "./output/child-output.js";
import type { TaskList } from "./task-list.js";
import type { TaskOwner } from "./task-owner.js";

/** What a child that has ended leaves. */
export interface Remains {
  /** The tasks that failed because the child ended. */
  readonly lost: readonly { readonly task: Task; readonly run: Run; readonly failure: Failure }[];
  /** What the child said of its end. */
  readonly ending: outcome.KnownEnding | undefined;
}

export class Collector implements Runs, CheckedHandler {
  readonly #start: Start;
  readonly #tasks: TaskList;
  readonly #ledger: Ledger;
  readonly #checked: CheckedLedger;
  readonly #meter: Meter;
  /** When each task was taken, in ms on the monotonic clock; task s is at s % capacity. */
  readonly #takenAt: Float64Array;
  readonly #timedOut = new Set<Task>();
  #owner: TaskOwner | undefined;
  #child: Child | undefined;
  #output: ChildOutput | undefined;
  #pid: number | undefined;
  /** Known once the child has ended, and only if it was a child for a single item. */
  #usage: Usage | undefined;
  #ending: Ending | undefined;
  #isOver = false;
  /** How the child broke the protocol, if it did. */
  breach: string | undefined;
  /** Up to when time has been counted as spent on items, in ms on the monotonic clock. */
  #pacedUpTo = 0;
  // Of the entries of one `collect`:
  #taken = 0;
  /** Bytes of items too long for a line and of results too long for the ledger. */
  #longBytes = 0;
  #firstStart = 0;
  #lastEnd = 0;
  /** The sum of their times, in ms. */
  #busy = 0;
  /** What the item printed whose entry is being collected. */
  #printed: Printed | undefined;

  /** @param onBreach - called when the ledger holds what no child records; nothing more is collected then */
  constructor(
    start: Start,
    tasks: TaskList,
    ledger: Ledger,
    meter: Meter,
    capacity: number,
    onBreach: (reason: string) => void,
  ) {
    this.#start = start;
    this.#tasks = tasks;
    this.#ledger = ledger;
    this.#checked = new CheckedLedger(ledger, tasks, this, onBreach);
    this.#meter = meter;
    this.#takenAt = new Float64Array(capacity);
  }

  /** From now on there may be something to collect. */
  follow(child: Child, output: ChildOutput | undefined): void {
    this.#child = child;
    this.#output = output;
  }

  get pid(): number | undefined {
    return this.#pid ?? this.#child?.pid;
  }

  /** How many entries the last `collect` found. */
  get taken(): number {
    return this.#taken;
  }

  /** Releases the call, as the child has no task of it any more. */
  forget(): void {
    this.#owner = undefined;
  }

  /** When an item was last known to be done. */
  get lastDoneAt(): number {
    return this.#pacedUpTo;
  }

  /** Adds what the child has been given. */
  add(batch: Batch, owner: TaskOwner, now: number): void {
    this.#owner = owner;
    const { next } = this.#tasks;
    const { length } = this.#takenAt;
    for (let seq = next; seq < next + batch.length; seq += 1) this.#takenAt[seq % length] = now;
    this.#tasks.add(batch);
  }

  /** Reports what the child has recorded since the last call. */
  collect(): void {
    const { read } = this.#ledger;
    this.#taken = 0;
    this.#longBytes = 0;
    this.#firstStart = Infinity;
    this.#lastEnd = 0;
    this.#busy = 0;
    this.#checked.take();
    if (this.#taken === 0) return;
    const { batching, options } = this.#owner!;
    const passed = this.#lastEnd - Math.max(this.#firstStart, this.#pacedUpTo);
    // Two items that ran beside each other may have ended right after each other.
    const ms = Math.max(passed, this.#busy / options.fibers);
    this.#pacedUpTo = this.#lastEnd;
    batching.note(this.#taken, ms, ((this.#ledger.read - read) >>> 0) + this.#longBytes);
  }

  /** Returns how many items the child has begun. */
  begun(): number {
    return this.#checked.begun();
  }

  /** Returns when the child began an item that has not been collected. */
  beginningOf(seq: number): number {
    return this.#checked.beginningOf(seq);
  }

  /** Whatever becomes of the task now, it took too long. */
  timeOut(task: Task): void {
    this.#timedOut.add(task);
  }

  isTimedOut(task: Task): boolean {
    return this.#timedOut.has(task);
  }

  /**
   * The child has ended: reports what it has recorded, and returns the tasks that it had only begun. The others stay in the list.
   *
   * @param isLost - whether the first of those that were not begun has failed too
   */
  close(end: ChildEnd, isLost: (next: Task) => boolean): Remains {
    if (end.started) {
      this.#pid = end.pid ?? this.#pid;
      this.#usage = end.usage;
    }
    this.collect();
    this.#isOver = true;
    const begun = this.begun();
    const dead = this.#tasks.upTo(begun).map(([seq, task]) => {
      const printed = this.#output?.take(seq);
      const run = this.#run(this.beginningOf(seq), monotonic(), printed);
      this.#count(seq, run.start, run.end, false);
      return { seq, task, run };
    });
    this.#tasks.takeAll(0, begun);
    const next = this.#tasks.get(this.#tasks.oldest);
    if (next && isLost(next)) {
      this.#tasks.take(this.#tasks.oldest);
      dead.push({ seq: begun, task: next, run: this.#run(monotonic()) });
    }
    const overflow = this.#child!.overflow;
    const ending = this.#ending && outcome.takeEnding(this.#ending, overflow);
    const lost = dead.map(({ seq, task, run }) => {
      // The child may have written a result and ended before it could record it.
      overflow.discard(seq);
      return { task, run, failure: this.#failure(task, run, end, ending, seq === 0) };
    });
    overflow.close();
    return { lost, ending };
  }

  /** @internal An entry of the ledger, checked. */
  entry(seq: number, entry: Entry): void {
    const start = this.#ledger.startOf(seq);
    const end = this.#ledger.endOf(seq);
    // Only after the ledger was read: an item's output is there before its entry is.
    if (this.#output && this.#taken === 0) this.#child?.output?.drain();
    if (start < this.#firstStart) this.#firstStart = start;
    if (end > this.#lastEnd) this.#lastEnd = end;
    this.#taken += 1;
    this.#busy += end - start;
    this.#printed = this.#output?.take(seq);
    if (this.#tasks.isFresh(seq) && isResult(entry)) {
      this.#count(seq, start, end, true);
      const index = this.#tasks.indexOf(seq);
      const item = this.#tasks.takeFresh(seq);
      return this.#owner!.freshSucceeded!(index, item, this.#resultIn(entry), this, seq);
    }
    const task = this.#tasks.take(seq);
    if (!task) throw new Breach(`noted twice what became of an item`);
    if (task.encoded) this.#longBytes += sizeOf(task.encoded);
    if (isThrottled(entry) && !this.#timedOut.has(task)) {
      return this.#owner!.throttled(task, entry.retryAfter, this, seq);
    }
    this.#count(seq, start, end, isSuccess(entry));
    this.#settle(task, seq, entry);
  }

  /** @internal */
  ending(ending: Ending): void {
    this.#ending = ending;
  }

  #count(seq: number, start: number, end: number, isOk: boolean): void {
    const waited = start - this.#takenAt[seq % this.#takenAt.length]!;
    this.#meter.ran(this.#start.num, end - start, waited, isOk);
  }

  #settle(task: Task, seq: number, entry: Entry): void {
    const owner = this.#owner!;
    if (isResult(entry)) return owner.succeeded(task, this.#resultIn(entry), this, seq);
    const run = this.runOf(seq);
    const facts = outcome.factsOf(task, run);
    const became = isThrottled(entry)
      ? outcome.timeoutFailure(facts, owner.optionsOf(task).timeout!)
      : outcome.resultOf(entry, this.#child!.overflow, seq, facts, owner.expected);
    if (entry.status === "ok" && "size" in entry) this.#longBytes += entry.size;
    const release = this.#releaseOf(entry);
    if ("error" in became) {
      release();
      // Sent a signal because of its timeout, the item may throw: the cause of its failure is the timeout.
      const isLate = this.#timedOut.has(task);
      const failure = isLate
        ? outcome.timeoutFailure(facts, owner.optionsOf(task).timeout!)
        : became;
      return owner.failed(task, failure, run);
    }
    if (!(became.result instanceof Promise)) {
      release();
      return owner.succeeded(task, became.result, this, seq);
    }
    became.result.finally(release).then(
      (result: unknown) => owner.succeeded(task, result, justRun(run), seq),
      (cause: unknown) => owner.failed(task, outcome.unreadable(facts, cause), run),
    );
  }

  #resultIn(entry: string | readonly [unknown]): unknown {
    if (typeof entry !== "string") return entry[0];
    return this.#owner!.wantsResults ? entry : undefined;
  }

  /** Returns what to call when the result has been read: the child may then use its buffer again. */
  #releaseOf(entry: LastWord): () => void {
    if (entry.status !== "ok" || !("size" in entry) || entry.buffer === undefined) return () => {};
    const { buffer } = entry;
    return () => {
      // After the child has ended, its ledger belongs to the next child of the slot.
      if (!this.#isOver) this.#ledger.release(buffer);
    };
  }

  /** Returns the run of an item whose entry is being collected. */
  runOf(seq: number): Run {
    return this.#run(this.#ledger.startOf(seq), this.#ledger.endOf(seq), this.#printed);
  }

  startOf(seq: number): number {
    return this.#ledger.startOf(seq);
  }

  #run(start: number, end = start, printed?: Printed): Run {
    const { num, generation } = this.#start;
    return { num, generation, pid: this.pid, start, end, usage: this.#usage, printed };
  }

  /** @param isFirst - whether it was the first item of the child */
  #failure(
    task: Task,
    run: Run,
    end: ChildEnd,
    ending: outcome.KnownEnding | undefined,
    isFirst: boolean,
  ): Failure {
    const facts = outcome.factsOf(task, run);
    const { limits } = this.#owner!.options;
    const lastWords = run.printed?.lastWords;
    // Even if the child was killed before it was started: a fork server that is held up reads both requests at once.
    if (this.#timedOut.has(task)) {
      return outcome.timeoutFailure(facts, this.#owner!.optionsOf(task).timeout!, lastWords);
    }
    if (!end.started) return outcome.failureToStart(facts, end.reason, end.cause);
    const reason = this.#timedOut.size > 0 ? "another item of its child timed out" : end.reason;
    const death = { ...end, reason, breach: end.breach ?? this.breach };
    return outcome.deathFailure(facts, death, ending, { limits, lastWords, isFirst });
  }
}
