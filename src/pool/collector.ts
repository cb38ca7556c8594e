/**
 * Learns from a child's ledger what became of its tasks, and tells their owner: while it lives whenever it has said that
 * there is something, and once more when it has ended.
 */
import { Breach } from "../wire/breach.js";
import type { Usage } from "../errors.js";
import type { Entry, EntryHandler, Ledger } from "../wire/ledger.js";
import type { Child, ChildEnd } from "../launch/launcher.js";
import { monotonic } from "../system/monotonic.js";
import * as outcome from "./outcome.js";
import type { ChildOutput } from "./output/child-output.js";
import type { Ending, LastWord, Start } from "../wire/protocol.js";
import type { LongItem } from "../wire/payload.js";
import type { Meter } from "../observe/stats.js";
import type { Failure, Printed, Run, Runs, Task } from "../wire/task.js";
import type { TaskOwner } from "./task-owner.js";
import type { TaskList } from "./task-list.js";

/** By much less, even where a process was held up while it measured (monotonic.ts). Later than that is no time of an item. */
const CLOCKS_DIFFER_MS = 1000;

/** What an ended child leaves. */
export interface Remains {
  /** Tasks that have gone down with it. */
  readonly lost: readonly { readonly task: Task; readonly run: Run; readonly failure: Failure }[];
  /** What it had to say of its end. */
  readonly ending: outcome.KnownEnding | undefined;
}

export class Collector implements Runs {
  readonly #start: Start;
  readonly #tasks: TaskList;
  readonly #ledger: Ledger;
  readonly #meter: Meter;
  /** When each was taken, in ms on the monotonic clock. */
  readonly #takenAt: Float64Array;
  readonly #timedOut = new Set<Task>();
  #owner: TaskOwner | undefined;
  #child: Child | undefined;
  #output: ChildOutput | undefined;
  #pid: number | undefined;
  /** Known when it has ended, of one that had one item only. */
  #usage: Usage | undefined;
  #ending: Ending | undefined;
  #isOver = false;
  readonly #onBreach: (reason: string) => void;
  /** What the child did that was not to be. */
  breach: string | undefined;
  /** So is its ledger: nothing is taken from it any more. */
  #isBroken = false;
  /** Up to when what is being collected can have ended, in ms on the monotonic clock. */
  #latest = 0;
  /** Up to when time has been counted as spent on items. */
  #pacedUpTo = 0;
  // Of what is being collected.
  #taken = 0;
  /** What was too long for a line, or for the ledger. */
  #longBytes = 0;
  #firstStart = 0;
  #lastEnd = 0;
  /** By the item that is being settled. */
  #printed: Printed | undefined;

  /** @param onBreach - called when the child has noted what it cannot have; nothing more is collected then */
  constructor(
    start: Start,
    tasks: TaskList,
    ledger: Ledger,
    meter: Meter,
    capacity: number,
    onBreach: (reason: string) => void,
  ) {
    this.#onBreach = onBreach;
    this.#start = start;
    this.#tasks = tasks;
    this.#ledger = ledger;
    this.#meter = meter;
    this.#takenAt = new Float64Array(capacity);
  }

  /** From now on, there may be something to collect. */
  follow(child: Child, output: ChildOutput | undefined): void {
    this.#child = child;
    this.#output = output;
  }

  get pid(): number | undefined {
    return this.#pid ?? this.#child?.pid;
  }

  /** How many items the last `collect` has handed on. */
  get taken(): number {
    return this.#taken;
  }

  /** It has no task: lets go of whose they were. */
  forget(): void {
    this.#owner = undefined;
  }

  /** When an item was last known to be done. */
  get lastDoneAt(): number {
    return this.#pacedUpTo;
  }

  /** Its child has been given another task. */
  add(task: Task, owner: TaskOwner, now: number): void {
    this.#owner = owner;
    this.#takenAt[this.#tasks.next % this.#takenAt.length] = now;
    this.#tasks.add(task);
  }

  /** Hands on what the child has noted. */
  collect(): void {
    const ledger = this.#ledger;
    const { read } = ledger;
    this.#taken = 0;
    this.#longBytes = 0;
    this.#firstStart = Infinity;
    this.#lastEnd = 0;
    this.#take();
    if (this.#taken === 0) return;
    const ms = this.#lastEnd - Math.max(this.#firstStart, this.#pacedUpTo);
    this.#pacedUpTo = this.#lastEnd;
    this.#owner!.batching.note(this.#taken, ms, ((ledger.read - read) >>> 0) + this.#longBytes);
  }

  #take(): void {
    if (this.#isBroken) return;
    const { oldest, next } = this.#tasks;
    this.#isBroken = this.#fails(() => this.#ledger.take(oldest, next, this.#handler));
  }

  /** How many items the child has begun. Where it says what cannot be, all: none may be run a second time. */
  begun(): number {
    const { next } = this.#tasks;
    let begun = 0;
    const isWrong = this.#fails(() => {
      begun = this.#ledger.begun();
      if (begun >= 0 && begun <= next) return;
      throw new Breach(`claims in its ledger to have begun ${begun} items of ${next}`);
    });
    return isWrong ? next : begun;
  }

  /** When it has begun an item that has not been collected. */
  beginningOf(seq: number): number {
    let time = 0;
    const isWrong = this.#fails(() => {
      time = this.#ledger.beginningOf(seq);
      if (!(time > 0 && time <= monotonic() + CLOCKS_DIFFER_MS)) throw strangeTime();
    });
    return isWrong ? monotonic() : time;
  }

  /** Whether it is a breach. */
  #fails(look: () => void): boolean {
    try {
      look();
      return false;
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#onBreach(error.message);
      return true;
    }
  }

  /** Whatever becomes of it now, it took too long. */
  timeOut(task: Task): void {
    this.#timedOut.add(task);
  }

  isTimedOut(task: Task): boolean {
    return this.#timedOut.has(task);
  }

  /**
   * The child has ended: hands on what it has noted, and tells what it had begun and not finished. What it had not begun is
   * left in the list.
   *
   * @param isLost - whether the first of those has gone down too
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
      // What it wrote and could not note any more.
      overflow.discard(seq);
      const isFirst = seq === 0;
      return { task, run, failure: this.#failure(task, run, end, ending, isFirst) };
    });
    overflow.close();
    return { lost, ending };
  }

  readonly #handler: EntryHandler = {
    entry: (seq, entry) => {
      // Not before the look at the ledger: what an item has printed is there before its entry is.
      if (this.#output && this.#taken === 0) this.#child?.output?.drain();
      // After it was read: the child goes on noting meanwhile.
      if (this.#taken === 0) this.#latest = monotonic() + CLOCKS_DIFFER_MS;
      const start = this.#ledger.startOf(seq);
      const end = this.#ledger.endOf(seq);
      if (!(start > 0 && start <= end && end <= this.#latest)) throw strangeTime();
      if (start < this.#firstStart) this.#firstStart = start;
      if (end > this.#lastEnd) this.#lastEnd = end;
      this.#taken += 1;
      const task = this.#tasks.take(seq);
      if (!task) throw new Breach(`noted twice what became of an item`);
      if (task.long) this.#longBytes += sizeOf(task.long);
      this.#printed = this.#output?.take(seq);
      if (isThrottled(entry) && !this.#timedOut.has(task)) {
        return this.#owner!.throttled(task, entry.retryAfter, this, seq);
      }
      this.#count(seq, start, end, isSuccess(entry));
      this.#settle(task, seq, entry);
    },
    ending: (ending) => (this.#ending = ending),
  };

  #count(seq: number, start: number, end: number, isOk: boolean): void {
    const waited = start - this.#takenAt[seq % this.#takenAt.length]!;
    this.#meter.ran(this.#start.num, end - start, waited, isOk);
  }

  #settle(task: Task, seq: number, entry: Entry): void {
    const owner = this.#owner!;
    if (typeof entry === "string") {
      return owner.succeeded(task, owner.wantsResults ? entry : undefined, this, seq);
    }
    if (isJson(entry)) return owner.succeeded(task, entry[0], this, seq);
    const run = this.runOf(seq);
    const facts = outcome.factsOf(task, run);
    const became = isThrottled(entry)
      ? outcome.timeoutFailure(facts, owner.options.timeout!)
      : outcome.resultOf(entry, this.#child!.overflow, seq, facts, owner.expected);
    if (entry.status === "ok") this.#longBytes += entry.size;
    const release = this.#releaseOf(entry);
    if ("error" in became) {
      release();
      // What it makes of being told to end is not why it failed.
      const isLate = this.#timedOut.has(task);
      const failure = isLate ? outcome.timeoutFailure(facts, owner.options.timeout!) : became;
      return owner.failed(task, failure, run);
    }
    if (!(became.result instanceof Promise)) {
      release();
      return owner.succeeded(task, became.result, this, seq);
    }
    became.result.finally(release).then(
      (result: unknown) => owner.succeeded(task, result, { runOf: () => run }, seq),
      (cause: unknown) => owner.failed(task, outcome.unreadable(facts, cause), run),
    );
  }

  /** To be called when the result has been read: its child may use the buffer again. */
  #releaseOf(entry: LastWord): () => void {
    if (entry.status !== "ok" || entry.buffer === undefined) return () => {};
    const { buffer } = entry;
    return () => {
      // Its ledger is another's then.
      if (!this.#isOver) this.#ledger.release(buffer);
    };
  }

  /** Of an item that is being collected. */
  runOf(seq: number): Run {
    return this.#run(this.#ledger.startOf(seq), this.#ledger.endOf(seq), this.#printed);
  }

  #run(start: number, end = start, printed?: Printed): Run {
    const { num, generation } = this.#start;
    return { num, generation, pid: this.pid, start, end, usage: this.#usage, printed };
  }

  /** @param isFirst - its child had no item before it */
  #failure(
    task: Task,
    run: Run,
    end: ChildEnd,
    ending: outcome.KnownEnding | undefined,
    isFirst: boolean,
  ): Failure {
    const facts = outcome.factsOf(task, run);
    const { timeout, limits } = this.#owner!.options;
    const lastWords = run.printed?.lastWords;
    // Also when its child was killed before it was there: a fork server that is held up reads both at once.
    if (this.#timedOut.has(task)) return outcome.timeoutFailure(facts, timeout!, lastWords);
    if (!end.started) return outcome.failureToStart(facts, end.reason, end.cause);
    const reason = this.#timedOut.size > 0 ? "another item of its child timed out" : end.reason;
    const death = { ...end, reason, breach: end.breach ?? this.breach };
    return outcome.deathFailure(facts, death, ending, { limits, lastWords, isFirst });
  }
}

function sizeOf(item: LongItem): number {
  return "file" in item ? item.size : item.text.length;
}

function strangeTime(): Breach {
  return new Breach("noted a time in its ledger at which no item of it can have run");
}

type Throttled = Extract<LastWord, { status: "throttled" }>;

function isThrottled(entry: Entry): entry is Throttled {
  return typeof entry === "object" && "status" in entry && entry.status === "throttled";
}

function isSuccess(entry: Entry): boolean {
  return typeof entry === "string" || isJson(entry) || entry.status === "ok";
}

function isJson(entry: Exclude<Entry, string>): entry is readonly [unknown] {
  return Array.isArray(entry);
}
