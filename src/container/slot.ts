/**
 * A slot: a place where one child runs at a time. It starts a child when it is given tasks, hands these to it, learns
 * from the ledger what became of each, and has the child replaced when it has had its share. Its num outlives its children.
 *
 *   empty ──run──▶ starting ──ready──▶ serving ──last item, too large, not wanted──▶ ending
 *     ▲                │                  │                                            │
 *     └────────────────┴──── the child has ended, by whatever way ◀────────────────────┘
 */
import type { Usage } from "../errors.js";
import { type KeepItem, type PackedItems, packItems } from "../items.js";
import type { Entry, EntryHandler, LedgerReader } from "../ledger.js";
import type { Child, ChildEnd, ChildEvents } from "../launch/launcher.js";
import { monotonic } from "../monotonic.js";
import * as outcome from "../outcome.js";
import type { Answer, Ending, Payload, Start } from "../protocol.js";
import type { Meter } from "../stats.js";
import type { ChildLife, Failure, Run, Runs, Task, TaskOwner } from "../task.js";
import { MAX_BATCH } from "./pace.js";
import { TaskList } from "./task-list.js";

/** What a slot needs of its container. */
export interface SlotHost {
  /** Children have one item each, which comes with their start. */
  readonly isOneItem: boolean;
  readonly maxItemsPerChild: number;
  /** Tasks a child may have. */
  readonly capacity: number;
  ledger(num: number): LedgerReader;
  startOf(num: number, generation: number): Omit<Start, "payload">;
  launch(start: Start, events: ChildEvents): Child;
  readonly keepItem: KeepItem;
  /** Whether another slot could take what this one has not begun. */
  hasFreeSlot(): boolean;
  /** The slot can take more. */
  onFree(): void;
  readonly meter: Meter;
  onChildStart(num: number): void;
  onChildReady(num: number, pid: number | undefined): void;
  onChildEnd(life: ChildLife): void;
}

/** So often a task may have been given to a child that ended before it began it. */
const MAX_STRAYS = 10;
/** A batch is made to last a few ms; what of it has not been begun after so many is for other slots, if one is free. */
const OVERDUE_MS = 20;

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
  #ledger!: LedgerReader;
  /** Whose tasks these are: a child serves one call at a time. */
  #owner!: TaskOwner;
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
  readonly #timedOut = new Set<Task>();
  #timer: NodeJS.Timeout | undefined;
  #forceTimer: NodeJS.Timeout | undefined;
  #pid: number | undefined;
  #ending: Ending | undefined;
  /** Of the child that has just ended, when it had one item only. */
  #usage: Usage | undefined;
  /** Up to when time has been counted as spent on items. */
  #pacedUpTo = 0;
  // Of what is being collected.
  #taken = 0;
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

  /** Whether it has nothing to do and could have. */
  get isIdle(): boolean {
    return this.load === 0 && !this.#isRetired && this.#state !== "ending";
  }

  /** The tasks in its child. */
  get load(): number {
    return this.#tasks.size;
  }

  get generation(): number {
    return this.#generation;
  }

  get pid(): number | undefined {
    return this.#pid ?? this.#child?.pid;
  }

  isServing(owner: TaskOwner): boolean {
    return this.load > 0 && this.#owner === owner;
  }

  /** How many tasks of this owner it could take now. */
  roomFor(owner: TaskOwner): number {
    if (this.#isFull || this.#isRetired || this.#isRecalled || this.#forceTimer) return 0;
    if (this.#state === "ending" || (this.load > 0 && this.#owner !== owner)) return 0;
    const { batchSize } = owner;
    const { fibers } = owner.options;
    const ahead = fibers > 1 && batchSize > 1 ? batchSize : 0;
    const isHungry = fibers > 1 ? this.load < fibers + ahead / 2 : this.load === 0;
    if (!isHungry) return 0;
    const wanted = fibers > 1 ? fibers + ahead - this.load : batchSize;
    const left = this.#host.maxItemsPerChild - this.#tasks.next;
    return Math.min(wanted, left, this.#tasks.room, MAX_BATCH);
  }

  /** Gives it tasks, at most as many as it has room for. */
  run(tasks: readonly Task[], owner: TaskOwner): void {
    this.#owner = owner;
    let packed: PackedItems;
    try {
      if (this.#state === "empty") this.#prepare();
      packed = packItems(tasks, this.#tasks.next, this.#host.keepItem);
    } catch (error) {
      // A full disk, mostly. Only the first is told of it: it may be better when the others come again.
      const [first, ...rest] = tasks;
      if (rest.length > 0) owner.returned(rest);
      const run = this.#run(monotonic());
      owner.failed(first!, outcome.failureToSend(outcome.factsOf(first!, run), error), run);
      return;
    }
    const now = monotonic();
    for (let i = 0; i < tasks.length; i += 1) {
      this.#takenAt[this.#tasks.next % this.#takenAt.length] = now;
      this.#tasks.add(tasks[i]!);
    }
    this.#hand(packed);
  }

  /** Ends the child with all it runs: `killSignal` first, SIGKILL when it takes too long. */
  kill(): void {
    if (!this.#child || this.#forceTimer) return;
    const child = this.#child;
    const { killSignal, forceKillAfterDelay } = this.#owner.options;
    child.kill(killSignal);
    this.#forceTimer = setTimeout(() => child.kill("SIGKILL"), forceKillAfterDelay);
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
    }
  }

  /** Takes no more tasks; its child ends once it has none. */
  retire(): void {
    this.#isRetired = true;
    if (this.#state === "ending") this.#child!.keepAlive(true);
    this.#endIfIdle();
  }

  /** No call is left that could wait for it. */
  relax(): void {
    if (this.#state === "ending" && !this.#isRetired) this.#child!.keepAlive(false);
  }

  /** Is wanted again. */
  revive(): void {
    this.#isRetired = false;
  }

  #prepare(): void {
    if (this.#generation === 0) this.#ledger = this.#host.ledger(this.num);
    this.#ledger.reset();
    this.#generation += 1;
    this.#start = this.#host.startOf(this.num, this.#generation);
  }

  #hand(packed: PackedItems): void {
    const { options, wantsResults } = this.#owner;
    const whole: Payload = {
      ...packed,
      results: wantsResults,
      fibers: options.fibers,
      ...(options.stopOnError && options.retries === 0 ? { stopOnError: true } : {}),
      ...(this.#tasks.next >= this.#host.maxItemsPerChild ? { last: true } : {}),
      read: this.#ledger.read,
    };
    if (this.#state === "serving") {
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
    this.#child = this.#host.launch(this.#start, {
      onReady: () => this.#onReady(),
      onWaiting: () => clearTimeout(this.#timer),
      onAnswer: (answer) => this.#onAnswer(answer),
      onEnd: (end) => this.#onEnd(end),
    });
    this.#child.keepAlive(true);
  }

  #onReady(): void {
    this.#state = "serving";
    this.#readyAt = monotonic();
    this.#host.onChildReady(this.num, this.pid);
    for (const payload of this.#unsent.splice(0)) this.#send(payload);
    this.#watch();
    this.#endIfIdle();
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
    this.#child?.keepAlive(false);
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#state !== "serving" || this.load > 0 || this.#host.isOneItem) return;
    const isDone = this.#tasks.next >= this.#host.maxItemsPerChild;
    if (!this.#isRetired && !this.#isFull && !isDone) return;
    this.#state = "ending";
    // Of its own accord after its last item.
    if (!isDone) this.#child!.send({ do: "end" });
    // A call may wait for its end, to start the next one.
    this.#child!.keepAlive(true);
  }

  /** Hands on what the child has noted. */
  #collect(): void {
    const ledger = this.#ledger;
    const { read } = ledger;
    this.#taken = 0;
    this.#firstStart = Infinity;
    this.#lastEnd = 0;
    ledger.take(this.#tasks.oldest, this.#tasks.next, this.#handler);
    if (this.#taken === 0) return;
    const ms = this.#lastEnd - Math.max(this.#firstStart, this.#pacedUpTo);
    this.#pacedUpTo = this.#lastEnd;
    this.#owner.paced(this.#taken, ms, (ledger.read - read) >>> 0);
  }

  readonly #handler: EntryHandler = {
    entry: (seq, entry) => {
      const start = this.#ledger.startOf(seq);
      const end = this.#ledger.endOf(seq);
      if (start < this.#firstStart) this.#firstStart = start;
      if (end > this.#lastEnd) this.#lastEnd = end;
      this.#taken += 1;
      const task = this.#tasks.take(seq);
      if (!task) return;
      this.#count(seq, start, end, isSuccess(entry));
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
    if ("error" in became) return owner.failed(task, became, run);
    if (!(became.result instanceof Promise)) return owner.succeeded(task, became.result, this, seq);
    became.result.then(
      (result: unknown) => owner.succeeded(task, result, { runOf: () => run }, seq),
      (cause: unknown) => owner.failed(task, outcome.unreadable(facts, cause), run),
    );
  }

  /** Of an item that is being collected. */
  runOf(seq: number): Run {
    return this.#run(this.#ledger.startOf(seq), this.#ledger.endOf(seq));
  }

  #run(start: number, end = start): Run {
    const { num, pid } = this;
    return { num, generation: this.#generation, pid, start, end, usage: this.#usage };
  }

  /** Those from `from` up to `to` have not been begun. */
  #giveBack(from: number, to = this.#tasks.next): void {
    const tasks = this.#tasks.takeAll(from, to);
    if (tasks.length > 0) this.#owner.returned(tasks);
  }

  /** Looks after a child that takes its time. */
  #watch(): void {
    if (this.#timer || this.load === 0) return;
    const { timeout } = this.#owner.options;
    const mayBeOverdue = !this.#host.isOneItem && this.load > this.#owner.options.fibers;
    const delay = Math.min(timeout ?? Infinity, mayBeOverdue ? OVERDUE_MS : Infinity);
    if (delay < Infinity) this.#timer = setTimeout(() => this.#look(), delay);
  }

  #look(): void {
    this.#timer = undefined;
    // Of a child for one item, what it has noted is only taken when it has ended: then it is known what it cost.
    if (!this.#host.isOneItem) this.#collect();
    if (this.load === 0 || this.#state !== "serving") return;
    const begun = this.#ledger.begun();
    const timeLeft = this.#timeLeft(begun);
    if (timeLeft <= 0) return this.kill();
    const isOverdue = begun < this.#tasks.next && !this.#host.isOneItem;
    if (isOverdue && this.#host.hasFreeSlot()) {
      this.recall();
      this.#host.onFree();
    }
    const delay = isOverdue ? Math.min(timeLeft, OVERDUE_MS) : timeLeft;
    if (delay < Infinity) this.#timer = setTimeout(() => this.#look(), delay);
  }

  /** In ms, until the next item has run for too long; notes those that have. */
  #timeLeft(begun: number): number {
    const { timeout } = this.#owner.options;
    if (timeout === undefined) return Infinity;
    const now = monotonic();
    let least = Infinity;
    for (const [seq, task] of this.#tasks.upTo(Math.max(begun, 1))) {
      const since = seq < begun ? this.#ledger.beginningOf(seq) : this.#readyAt;
      const left = Math.ceil(since + timeout - now);
      if (left <= 0) this.#timedOut.add(task);
      least = Math.min(least, left);
    }
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
      const run = this.#run(this.#ledger.beginningOf(seq), monotonic());
      this.#count(seq, run.start, run.end, false);
      return { task, run };
    });
    this.#tasks.takeAll(0, begun);
    const rest = this.#tasks.takeAll(begun);
    // What it had been given and not begun can go elsewhere; but not for ever, if it ends by what it is given.
    const first = rest[0];
    if (first && !wasKilled) {
      first.strays = (first.strays ?? 0) + 1;
      const isSuspect = this.#host.isOneItem || this.#state === "starting";
      const isShared = end.started && end.isShared === true;
      const isLost = (isSuspect && !isShared) || first.strays > MAX_STRAYS;
      if (isLost) dead.push({ task: rest.shift()!, run: this.#run(monotonic()) });
    }
    const owner = this.#owner;
    const failures = dead.map(({ task, run }) => ({ task, run, failure: this.#failure(task, run, end) }));
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

  #failure(task: Task, run: Run, end: ChildEnd): Failure {
    const facts = outcome.factsOf(task, run);
    const { timeout, limits } = this.#owner.options;
    if (!end.started) return outcome.failureToStart(facts, end.reason);
    if (this.#timedOut.has(task)) return outcome.timeoutFailure(facts, timeout!);
    const ending = this.#ending && outcome.takeEnding(this.#ending, this.#child!.overflow);
    return outcome.deathFailure(facts, end, ending, limits);
  }

  #becomeEmpty(): void {
    this.#state = "empty";
    this.#child = undefined;
    this.#timer = this.#forceTimer = undefined;
    this.#tasks.reset();
    this.#unsent.length = 0;
    this.#isRecalled = this.#isFull = false;
    this.#timedOut.clear();
    this.#pid = this.#ending = this.#usage = undefined;
    this.#pacedUpTo = 0;
  }
}

function howOf(end: ChildEnd): string {
  if (!end.started) return end.reason;
  return end.signal ?? (end.exitCode === undefined ? "lost" : `exit code ${end.exitCode}`);
}

function isSuccess(entry: Entry): boolean {
  return typeof entry === "string" || isJson(entry) || entry.status === "ok";
}

function isJson(entry: Exclude<Entry, string>): entry is readonly [unknown] {
  return Array.isArray(entry);
}
