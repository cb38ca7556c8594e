/**
 * A slot: a place where one child runs at a time. It starts a child when it is given tasks, hands these to it, learns
 * from the ledger what became of each, and has the child replaced when it has had its share. Its num outlives its children.
 *
 *   empty ──run──▶ starting ──ready──▶ serving ──last item, too large, not wanted──▶ ending
 *     ▲                │                  │                                            │
 *     └────────────────┴──── the child has ended, by whatever way ◀────────────────────┘
 */
import type { Usage } from "../errors.js";
import { type PackedItems, packItems } from "../items.js";
import type { Entry, EntryHandler, LedgerReader } from "../ledger.js";
import type { Child, ChildEnd } from "../launch/launcher.js";
import { monotonic } from "../monotonic.js";
import * as outcome from "../outcome.js";
import type { ChildOutput, OutputSource } from "../output/child-output.js";
import type { Printed } from "../output/item-output.js";
import type { Answer, Ending, LastWord, LongItem, Payload, Start } from "../protocol.js";
import type { ChildLife, Failure, Run, Runs, Task, TaskOwner } from "../task.js";
import { MAX_BATCH } from "./pace.js";
import type { SlotHost } from "./slot-host.js";
import { TaskList } from "./task-list.js";
import { warnOfTeardown } from "./teardown-warning.js";

/** So often a task may have been given to a child that ended before it began it. */
const MAX_STRAYS = 10;
/** An item may keep its child from telling of those before it in its batch: they are looked for so often. */
const LOOK_MS = 20;

export class Slot implements Runs {
  readonly num: number;
  readonly #host: SlotHost;
  readonly #tasks: TaskList;
  /** When each was taken, in ms on the monotonic clock. */
  readonly #takenAt: Float64Array;
  #generation = 0;
  #state: "empty" | "starting" | "serving" | "ending" = "empty";
  #child: Child | undefined;
  #start!: Start;
  #output: ChildOutput | undefined;
  /** By the item that is being settled. */
  #printed: Printed | undefined;
  #ledger!: LedgerReader;
  /** Whose tasks these are: a child serves one call at a time. */
  #owner!: TaskOwner;
  /** How many owners it has had. */
  #owners = 0;
  #launchedAt = 0;
  #readyAt = 0;
  #lastId = 0;
  /** Until the child is ready. */
  readonly #unsent: Payload[] = [];
  /** What it has not begun was taken back; it has not yet said that it knows. */
  #isRecalled = false;
  /** The child takes no more. */
  #isFull = false;
  /** The slot is not wanted any more. */
  #isRetired = false;
  /** No process could be made for its child yet, or no ledger: it takes no tasks that others could do. */
  #isWaiting = false;
  #isUnfit = false;
  /** Tasks its child was given and has not given back. */
  #share = 0;
  /** When it was last given tasks while it had none. */
  #handedAt = 0;
  readonly #timedOut = new Set<Task>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer is due. */
  #lookAt = 0;
  /** Since it was idle, it has been given several items in one line. */
  #hasBatches = false;
  #forceTimer: NodeJS.Timeout | undefined;
  #pid: number | undefined;
  #ending: Ending | undefined;
  /** Of the child that has just ended, when it had one item only. */
  #usage: Usage | undefined;
  /** Up to when time has been counted as spent on items. */
  #pacedUpTo = 0;
  // Of what is being collected.
  #taken = 0;
  /** What was too long for a line, or for the ledger. */
  #longBytes = 0;
  #firstStart = 0;
  #lastEnd = 0;

  constructor(num: number, host: SlotHost) {
    this.num = num;
    this.#host = host;
    this.#tasks = new TaskList(host.capacity);
    this.#takenAt = new Float64Array(host.capacity);
  }

  get isEmpty(): boolean {
    return this.#state === "empty";
  }

  /** The tasks in its child. */
  get load(): number {
    return this.#tasks.size;
  }

  get pid(): number | undefined {
    return this.#pid ?? this.#child?.pid;
  }

  isServing(owner: TaskOwner): boolean {
    return this.load > 0 && this.#owner === owner;
  }

  /**
   * How many tasks of this owner it could take now: one batch to run, and one that is there when that is done, as it takes
   * a while until the parent knows that it is. None is lost by that: what has not been begun can be taken back.
   */
  roomFor(owner: TaskOwner): number {
    if (this.#isFull || this.#isRetired || this.#isRecalled || this.#forceTimer) return 0;
    if (this.#isWaiting || (this.#isUnfit && this.#host.isBusyBeside(this))) return 0;
    if (this.#state === "ending" || (this.load > 0 && this.#owner !== owner)) return 0;
    const { batchSize, sendsAhead } = owner;
    const { fibers } = owner.options;
    const ahead = sendsAhead && this.#state === "serving" ? batchSize : 0;
    if (this.load >= fibers + ahead) return 0;
    const wanted = Math.max(batchSize, fibers - this.load);
    const left = this.#host.maxItemsPerChild - this.#share;
    return Math.min(wanted, left, this.#tasks.room, MAX_BATCH);
  }

  /** Gives it tasks, at most as many as it has room for. */
  run(tasks: readonly Task[], owner: TaskOwner): void {
    if (owner !== this.#owner) this.#owners += 1;
    this.#owner = owner;
    let packed: PackedItems;
    try {
      if (this.#state === "empty" && !this.#prepare()) return owner.returned(tasks);
      packed = packItems(tasks, this.#tasks.next, this.#host.items);
    } catch (error) {
      // A full disk, mostly: it may be better when the others come again.
      const [first, ...rest] = tasks;
      if (rest.length > 0) owner.returned(rest);
      const run = this.#run(monotonic());
      owner.failed(first!, outcome.failureToSend(outcome.factsOf(first!, run), error), run);
      return;
    }
    const now = monotonic();
    if (this.load === 0) this.#handedAt = now;
    const count = packed.items.length;
    if (count > 1) this.#hasBatches = true;
    for (let i = 0; i < count; i += 1) {
      this.#takenAt[this.#tasks.next % this.#takenAt.length] = now;
      this.#tasks.add(tasks[i]!);
    }
    this.#share += count;
    this.#hand(packed);
    // What could not be put in is told of when it comes first.
    if (count < tasks.length) owner.returned(tasks.slice(count));
  }

  /** Ends the child with all it runs: `killSignal` first, SIGKILL when it takes too long. */
  kill(): void {
    if (!this.#child || this.#forceTimer) return;
    const child = this.#child;
    const { killSignal, forceKillAfterDelay } = this.#owner.options;
    child.kill(killSignal);
    this.#forceTimer = setTimeout(() => child.kill("SIGKILL"), forceKillAfterDelay);
  }

  /** How many tasks of this owner its child has not begun, and could be made to give back. */
  waiting(owner: TaskOwner): number {
    if (this.#state !== "serving" || this.#isRecalled || !this.isServing(owner)) return 0;
    return this.load > owner.options.fibers ? this.#tasks.next - this.#ledger.begun() : 0;
  }

  /** Takes back what its child has not begun. */
  recall(): void {
    if (this.#isRecalled || this.load === 0 || this.#host.isOneItem) return;
    if (this.#state === "starting") {
      this.#unsent.length = 0;
      this.#giveBack(0);
    } else if (this.#state === "serving") {
      this.#isRecalled = true;
      // First the word, then the look, as the child does it the other way round: one of us sees the other.
      this.#ledger.recall(true);
      this.#giveBack(this.#ledger.begun());
      if (this.load === 0) this.#allowTime();
    }
  }

  /** Takes no more tasks; its child ends once it has none. */
  retire(): void {
    this.#isRetired = true;
    this.#child?.keepAlive(true);
    this.#endIfIdle();
  }

  /** No call is left: the program need not wait for a child to end, unless the slot is to end too. */
  rest(): void {
    if (this.#state === "ending" && !this.#isRetired) this.#child?.keepAlive(false);
  }

  /** Is wanted again. */
  revive(): void {
    this.#isRetired = false;
  }

  /**
   * For a new child; `false` when that cannot be and others can do the work.
   *
   * @throws when there is nobody else
   */
  #prepare(): boolean {
    try {
      if (this.#generation === 0) this.#ledger = this.#host.ledger(this.num);
      this.#ledger.reset();
      this.#isUnfit = false;
    } catch (error) {
      this.#isUnfit = true;
      if (this.#host.isBusyBeside(this)) return false;
      throw error;
    }
    this.#generation += 1;
    this.#start = this.#host.startOf(this.num, this.#generation);
    return true;
  }

  #hand(packed: PackedItems): void {
    const { options, wantsResults, endsAtError } = this.#owner;
    // No spreading: these are many, and what is undefined is left out of the line anyway.
    const whole: Payload = {
      seq: packed.seq,
      index: packed.index,
      indexes: packed.indexes,
      attempts: packed.attempts,
      items: packed.items,
      long: packed.long,
      results: wantsResults,
      fibers: options.fibers,
      stopOnError: endsAtError ? this.#owners : undefined,
      last: this.#share >= this.#host.maxItemsPerChild ? true : undefined,
      read: this.#ledger.read,
    };
    if (this.#state === "serving") {
      this.#child!.overflow.rest(false);
      this.#send(whole);
      this.#child!.keepAlive(true);
      this.#watch();
    } else if (this.#state === "starting") {
      this.#unsent.push(whole);
    } else {
      this.#launch(whole);
    }
  }

  #launch(payload: Payload): void {
    const { isOneItem } = this.#host;
    this.#state = "starting";
    this.#launchedAt = monotonic();
    this.#host.onChildStart(this.num);
    if (!isOneItem) this.#unsent.push(payload);
    this.#start = isOneItem ? { ...this.#start, payload } : this.#start;
    this.#output = this.#host.outputOf(this.#start, {
      find: (seq) => this.#find(seq),
      hold: (isHeld) => this.#child?.output?.hold(isHeld),
    });
    this.#child = this.#host.launch(this.#start, {
      onReady: () => this.#onReady(),
      onWaiting: () => this.#onWaiting(),
      onAnswer: (answer) => this.#onAnswer(answer),
      onOutput: (name, bytes) => this.#output?.push(name, bytes),
      onEnd: (end) => this.#onEnd(end),
    });
    // Of a thread it is not read.
    if (!this.#child.output) this.#output = undefined;
    this.#child.keepAlive(true);
  }

  /** Its time does not count. In a pool it may be for as long as that lives: what it was to do is for others. */
  #onWaiting(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#host.isOneItem) return;
    this.#isWaiting = true;
    this.#child!.keepAlive(this.#isRetired);
    this.recall();
    this.#host.onFree();
  }

  #onReady(): void {
    this.#state = "serving";
    this.#isWaiting = false;
    this.#readyAt = monotonic();
    this.#host.onChildReady(this.num, this.pid);
    for (const payload of this.#unsent.splice(0)) this.#send(payload);
    this.#watch();
    // All was taken back while it was starting.
    if (this.load === 0) this.#idle();
    if (!this.#host.isOneItem) this.#host.onFree();
  }

  #send(payload: Payload): void {
    this.#lastId += 1;
    this.#child!.send({ id: String(this.#lastId), payload });
  }

  #onAnswer(answer: Answer): void {
    if (this.#state !== "serving") return;
    this.#collect();
    if (answer.full) this.#isFull = true;
    const isLast = answer.id === String(this.#lastId);
    if (answer.status === "returned") {
      this.#giveBack(answer.from, answer.to);
      if (answer.to >= this.#tasks.next) this.#forgetRecall();
    } else if (answer.status === "ok" && isLast) {
      this.#forgetRecall();
      // A child that says it is done with all, and has noted nothing of some, is not to be trusted with more.
      if (this.load > 0) this.kill();
    }
    if (this.load === 0) this.#idle();
    this.#host.onFree();
  }

  /** The child knows: it has dropped what was taken back. */
  #forgetRecall(): void {
    if (!this.#isRecalled) return;
    this.#isRecalled = false;
    this.#ledger.recall(false);
  }

  #idle(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#hasBatches = false;
    this.#child?.keepAlive(false);
    this.#child?.overflow.rest(true);
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#state !== "serving" || this.load > 0 || this.#host.isOneItem) return;
    const isDone = this.#share >= this.#host.maxItemsPerChild;
    if (!this.#isRetired && !this.#isFull && !isDone) return;
    this.#state = "ending";
    // Of its own accord after its last item.
    if (!isDone) this.#child!.send({ do: "end" });
    // A call may wait for the child that comes after it.
    if (this.#isRetired || this.#host.isInUse()) this.#child!.keepAlive(true);
    this.#allowTime();
  }

  /** A child without a task that owes an answer, or its end, has as much time for it as for a task. */
  #allowTime(): void {
    clearTimeout(this.#timer);
    const { timeout } = this.#owner.options;
    this.#timer = timeout === undefined ? undefined : setTimeout(() => this.kill(), timeout);
    this.#timer?.unref();
    this.#lookAt = 0;
  }

  /** Hands on what the child has noted. */
  #collect(): void {
    const ledger = this.#ledger;
    const { read } = ledger;
    this.#taken = 0;
    this.#longBytes = 0;
    this.#firstStart = Infinity;
    this.#lastEnd = 0;
    ledger.take(this.#tasks.oldest, this.#tasks.next, this.#handler);
    if (this.#taken === 0) return;
    const ms = this.#lastEnd - Math.max(this.#firstStart, this.#pacedUpTo);
    this.#pacedUpTo = this.#lastEnd;
    this.#owner.paced(this.#taken, ms, ((ledger.read - read) >>> 0) + this.#longBytes);
  }

  readonly #handler: EntryHandler = {
    entry: (seq, entry) => {
      // Not before the look at the ledger: what an item has printed is there before its entry is.
      if (this.#output && this.#taken === 0) this.#child?.output?.drain();
      const start = this.#ledger.startOf(seq);
      const end = this.#ledger.endOf(seq);
      if (start < this.#firstStart) this.#firstStart = start;
      if (end > this.#lastEnd) this.#lastEnd = end;
      this.#taken += 1;
      const task = this.#tasks.take(seq);
      if (!task) return;
      if (task.long) this.#longBytes += sizeOf(task.long);
      this.#count(seq, start, end, isSuccess(entry));
      this.#printed = this.#output?.take(seq);
      this.#settle(task, seq, entry);
    },
    ending: (ending) => (this.#ending = ending),
  };

  #count(seq: number, start: number, end: number, isOk: boolean): void {
    const waited = start - this.#takenAt[seq % this.#takenAt.length]!;
    this.#host.meter.ran(this.num, end - start, waited, isOk);
  }

  #settle(task: Task, seq: number, entry: Entry): void {
    const owner = this.#owner;
    if (typeof entry === "string") {
      return owner.succeeded(task, owner.wantsResults ? entry : undefined, this, seq);
    }
    if (isJson(entry)) return owner.succeeded(task, entry[0], this, seq);
    const run = this.runOf(seq);
    const facts = outcome.factsOf(task, run);
    const became = outcome.resultOf(entry, this.#child!.overflow, seq, facts, owner.expected);
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
    const child = this.#child;
    return () => {
      if (this.#child === child) this.#ledger.release(buffer);
    };
  }

  /** Of an item that is being collected. */
  runOf(seq: number): Run {
    return this.#run(this.#ledger.startOf(seq), this.#ledger.endOf(seq), this.#printed);
  }

  #run(start: number, end = start, printed?: Printed): Run {
    const { num, pid } = this;
    return { num, generation: this.#generation, pid, start, end, usage: this.#usage, printed };
  }

  #find(seq: number): ReturnType<OutputSource["find"]> {
    const task = this.#tasks.get(seq);
    return task && { task, owner: this.#owner };
  }

  /** Those from `from` up to `to` have not been begun. */
  #giveBack(from: number, to = this.#tasks.next): void {
    const tasks = this.#tasks.takeAll(from, to);
    this.#share -= tasks.length;
    if (tasks.length > 0) this.#owner.returned(tasks);
  }

  /** Looks after a child that may take too long. */
  #watch(): void {
    if (this.load === 0) return;
    const { timeout = Infinity } = this.#owner.options;
    this.#lookIn(this.#hasBatches ? Math.min(timeout, LOOK_MS) : timeout);
  }

  /** Unless it will look sooner. */
  #lookIn(ms: number): void {
    if (ms === Infinity) return;
    const at = monotonic() + ms;
    if (this.#timer && this.#lookAt <= at) return;
    clearTimeout(this.#timer);
    this.#lookAt = at;
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    this.#timer = undefined;
    // Of a child for one item, what it has noted is only taken when it has ended: then it is known what it cost.
    if (!this.#host.isOneItem) this.#collect();
    if (this.load === 0 || this.#state !== "serving") return;
    const timeLeft = this.#timeLeft();
    if (timeLeft <= 0) this.kill();
    else this.#lookIn(this.#hasBatches ? Math.min(timeLeft, LOOK_MS) : timeLeft);
  }

  /** In ms, until the next item has run for too long; notes those that have. */
  #timeLeft(): number {
    const { timeout } = this.#owner.options;
    if (timeout === undefined) return Infinity;
    const begun = this.#ledger.begun();
    const now = monotonic();
    let least = Infinity;
    const check = (task: Task, since: number) => {
      const left = Math.ceil(since + timeout - now);
      if (left <= 0) this.#timedOut.add(task);
      least = Math.min(least, left);
    };
    for (const [seq, task] of this.#tasks.upTo(begun)) check(task, this.#ledger.beginningOf(seq));
    // When none is running the next one should be: something else keeps the child from it.
    const next = least === Infinity && this.#tasks.get(this.#tasks.oldest);
    if (next) check(next, Math.max(this.#readyAt, this.#handedAt, this.#pacedUpTo));
    return least;
  }

  #onEnd(end: ChildEnd): void {
    clearTimeout(this.#timer);
    const wasKilled = this.#forceTimer !== undefined;
    clearTimeout(this.#forceTimer);
    if (end.started) {
      this.#pid = end.pid ?? this.#pid;
      this.#usage = end.usage;
    }
    this.#collect();
    const begun = this.#ledger.begun();
    const dead = this.#tasks.upTo(begun).map(([seq, task]) => {
      const printed = this.#output?.take(seq);
      const run = this.#run(this.#ledger.beginningOf(seq), monotonic(), printed);
      this.#count(seq, run.start, run.end, false);
      return { seq, task, run };
    });
    this.#tasks.takeAll(0, begun);
    const rest = this.#tasks.takeAll(begun);
    const [next] = rest;
    if (next && this.#isLost(next, end, wasKilled)) {
      rest.shift();
      dead.push({ seq: begun, task: next, run: this.#run(monotonic()) });
    }
    const owner = this.#owner;
    const ending = this.#ending && outcome.takeEnding(this.#ending, this.#child!.overflow);
    const failures = dead.map(({ seq, task, run }) => {
      // What it wrote and could not note any more.
      this.#child!.overflow.discard(seq);
      return { task, run, failure: this.#failure(task, run, end, ending) };
    });
    this.#child!.overflow.close();
    warnOfTeardown(ending, this.#state === "ending", this);
    const life = this.life(monotonic(), howOf(end));
    this.#becomeEmpty();
    this.#host.onChildEnd(life);
    if (!end.started && end.fatal) owner.doomed(end.fatal);
    for (const { task, failure, run } of failures) owner.failed(task, failure, run);
    if (rest.length > 0) owner.returned(rest);
    this.#host.onFree();
  }

  /** The life of its child so far. */
  life(end: number, how: string): ChildLife {
    const { num, pid } = this;
    return { num, generation: this.#generation, pid, start: this.#launchedAt, end, how };
  }

  /** Whether a task that its child had not begun is not to be given to another. */
  #isLost(task: Task, end: ChildEnd, wasKilled: boolean): boolean {
    if (this.#timedOut.has(task)) return true;
    if (wasKilled) return false;
    if (!end.started) return true;
    // A child that exits by itself before it is ready will do so again; but not one that others took along.
    const hasExited = this.#state === "starting" && end.signal === undefined;
    if ((this.#host.isOneItem || hasExited) && !end.isShared) return true;
    task.strays = (task.strays ?? 0) + 1;
    return task.strays > MAX_STRAYS;
  }

  #failure(task: Task, run: Run, end: ChildEnd, ending: outcome.KnownEnding | undefined): Failure {
    const facts = outcome.factsOf(task, run);
    const { timeout, limits } = this.#owner.options;
    if (!end.started) return outcome.failureToStart(facts, end.reason);
    const lastWords = run.printed?.lastWords;
    if (this.#timedOut.has(task)) return outcome.timeoutFailure(facts, timeout!, lastWords);
    const reason = this.#timedOut.size > 0 ? "another item of its child timed out" : end.reason;
    return outcome.deathFailure(facts, { ...end, reason }, ending, limits, lastWords);
  }

  #becomeEmpty(): void {
    this.#output?.end();
    this.#output = undefined;
    this.#state = "empty";
    this.#child = undefined;
    this.#timer = this.#forceTimer = undefined;
    this.#tasks.reset();
    this.#unsent.length = 0;
    this.#isRecalled = this.#isFull = this.#isWaiting = false;
    this.#hasBatches = false;
    this.#share = this.#handedAt = 0;
    this.#timedOut.clear();
    this.#pid = this.#ending = this.#usage = undefined;
    this.#pacedUpTo = 0;
  }
}

function howOf(end: ChildEnd): string {
  if (!end.started) return end.reason;
  return end.signal ?? (end.exitCode === undefined ? "lost" : `exit code ${end.exitCode}`);
}

function sizeOf(item: LongItem): number {
  return "file" in item ? item.size : item.text.length;
}

function isSuccess(entry: Entry): boolean {
  return typeof entry === "string" || isJson(entry) || entry.status === "ok";
}

function isJson(entry: Exclude<Entry, string>): entry is readonly [unknown] {
  return Array.isArray(entry);
}
