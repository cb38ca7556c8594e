/**
 * A child in a slot, from its launch to its end: it is handed tasks, what became of each is learnt from the ledger, it is ended
 * when it has had its share, and looked after meanwhile.
 *
 *   new ──run──▶ starting ──ready──▶ serving ──last item, too large, not wanted──▶ ending
 *                    │                  │                                            │
 *                    └──────────────────┴───── ended, by whatever way ◀──────────────┘
 */
import { Breach } from "../wire/breach.js";
import { readAnswer } from "../wire/check-message.js";
import { LaunchError } from "../errors.js";
import type { PackedItems } from "../wire/items.js";
import type { Ledger } from "../wire/ledger.js";
import type { Child, ChildEnd } from "../launch/launcher.js";
import { monotonic } from "../system/monotonic.js";
import type { ChildOutput, OutputSource } from "./output/child-output.js";
import type { Answer, Payload, Start } from "../wire/protocol.js";
import type { Task } from "../wire/task.js";
import type { TaskOwner } from "./task-owner.js";
import type { ChildLife } from "../observe/diagnostics.js";
import { ChildWatch } from "./child-watch.js";
import { Collector } from "./collector.js";
import { MAX_BATCH } from "./pace.js";
import type { SlotHost } from "./slot-host.js";
import { TaskList } from "./task-list.js";
import { warnOfTeardown } from "./teardown-warning.js";
import { clearTimeout, setTimeout } from "../system/timers.js";

/** So often a task may have been given to a child that ended before it began it. */
const MAX_STRAYS = 10;

/**
 * Where items wait in this process, so many at least: a child is given its next one before what became of its last is looked
 * into, and that is looked into for some at a time. Two programs with items that do nothing reach so 0.95 to 0.98 of the items a
 * second of a loop written by hand; 0.93 with 4, 0.82 with 1, 0.87 with none (bench command, `batch: 1`).
 */
const KEPT_AHEAD = 16;

export class SlotChild {
  readonly #host: SlotHost;
  readonly #start: Start;
  readonly #ledger: Ledger;
  readonly #onGone: (isScarce: boolean) => void;
  readonly #tasks: TaskList;
  readonly #collector: Collector;
  readonly #watch: ChildWatch;
  #state: "new" | "starting" | "serving" | "ending" = "new";
  #child: Child | undefined;
  #output: ChildOutput | undefined;
  /** Whose tasks these are: a child serves one call at a time. Let go of when it has none, with all that the call holds. */
  #owner: TaskOwner | undefined;
  /** Of the last one. */
  #howToKill!: Pick<TaskOwner["options"], "killSignal" | "forceKillAfterDelay">;
  /** How many owners it has had. */
  #owners = 0;
  #launchedAt = 0;
  #lastId = 0;
  /** Until the child is ready. */
  readonly #unsent: Payload[] = [];
  /** What it has not begun was taken back; it has not yet said that it knows. */
  #isRecalled = false;
  /** How often it has given back what nobody has taken back, without having done anything. */
  #returns = 0;
  /** It takes no more. */
  #isFull = false;
  /** Its slot is not wanted any more. */
  #isRetired = false;
  /** No process could be made for it yet: it takes no tasks. */
  #isWaiting = false;
  /** It could not be started, and no other runs whose end could help. */
  #isHopeless = false;
  /** Tasks it was given and has not given back. */
  #share = 0;
  #forceTimer: NodeJS.Timeout | undefined;
  #isGone = false;

  /** @param onGone - called when it has ended, before anybody else is told; with whether it could not even begin for want of something */
  constructor(start: Start, ledger: Ledger, host: SlotHost, onGone: (isScarce: boolean) => void) {
    this.#start = start;
    this.#ledger = ledger;
    this.#host = host;
    this.#onGone = onGone;
    this.#tasks = new TaskList(host.capacity);
    this.#collector = new Collector(
      start,
      this.#tasks,
      ledger,
      host.meter,
      host.capacity,
      (reason) => this.#break(reason),
    );
    this.#watch = new ChildWatch({
      tasks: this.#tasks,
      collector: this.#collector,
      isServing: () => this.#state === "serving",
      // Of a child for one item, what it has noted is only taken when it has ended: then it is known what it cost.
      look: () => host.isOneItem || this.#collector.collect(),
      kill: () => this.kill(),
    });
  }

  get load(): number {
    return this.#tasks.size;
  }

  /** The number its next task gets. */
  get next(): number {
    return this.#tasks.next;
  }

  get pid(): number | undefined {
    return this.#collector.pid;
  }

  isServing(owner: TaskOwner): boolean {
    return this.load > 0 && this.#owner === owner;
  }

  /**
   * How many tasks of this owner it could take now: one batch to run, and one that is there when that is done, as it takes
   * a while until the parent knows that it is. None is lost by that: what has not been begun can be taken back.
   */
  roomFor(owner: TaskOwner): number {
    if (this.#isFull || this.#isWaiting || this.#isRecalled || this.#forceTimer) return 0;
    if (this.#collector.breach !== undefined) return 0;
    if (this.#state === "ending" || (this.load > 0 && this.#owner !== owner)) return 0;
    const { batching } = owner;
    const batchSize = batching.size;
    const { fibers } = owner.options;
    let ahead = batching.sendsAhead ? batchSize : 0;
    if (this.#host.keepsItems && batching.takesAhead) ahead = Math.max(batchSize, KEPT_AHEAD);
    if (this.#state !== "serving") ahead = 0;
    if (this.load >= fibers + ahead) return 0;
    const wanted = Math.max(batchSize, fibers - this.load);
    const left = this.#host.maxItemsPerChild - this.#share;
    return Math.min(wanted, left, this.#tasks.room, MAX_BATCH);
  }

  /** Gives it tasks, at most as many as it has room for. */
  run(tasks: readonly Task[], packed: PackedItems, owner: TaskOwner): void {
    if (owner !== this.#owner) this.#owners += 1;
    this.#owner = owner;
    const { killSignal, forceKillAfterDelay } = owner.options;
    this.#howToKill = { killSignal, forceKillAfterDelay };
    const now = monotonic();
    this.#watch.handed(tasks.length, this.load === 0, now, owner.options.timeout);
    for (const task of tasks) this.#collector.add(task, owner, now);
    this.#share += tasks.length;
    this.#hand(packed);
  }

  /** Ends it with all it runs: `killSignal` first, SIGKILL when it takes too long. */
  kill(signal?: "SIGKILL"): void {
    if (signal && this.#child) return this.#child.kill(signal);
    if (!this.#child || this.#forceTimer) return;
    const child = this.#child;
    const { killSignal, forceKillAfterDelay } = this.#howToKill;
    child.kill(killSignal);
    // The program stays so long for it: what a worker winds up when it is told to end is given its time after the call, too.
    this.#forceTimer = setTimeout(() => child.kill("SIGKILL"), forceKillAfterDelay);
  }

  /** How many tasks of this owner its child has not begun, and could be made to give back. */
  waiting(owner: TaskOwner): number {
    if (this.#state !== "serving" || this.#isRecalled || !this.isServing(owner)) return 0;
    return this.load > owner.options.fibers ? this.#tasks.next - this.#collector.begun() : 0;
  }

  /** Takes back what its child has not begun. */
  recall(): void {
    // The only item of a child is in flight as soon as that is made for it.
    if (this.#isRecalled || this.load === 0 || this.#host.isOneItem) return;
    if (this.#state === "starting") {
      this.#unsent.length = 0;
      this.#giveBack(0);
    } else if (this.#state === "serving") {
      this.#isRecalled = true;
      // First the word, then the look, as the child does it the other way round: one of us sees the other.
      this.#ledger.recall(true);
      this.#giveBack(this.#collector.begun());
      if (this.load === 0) this.#watch.allowTime();
    }
  }

  /** Ends once it has no tasks. */
  retire(): void {
    this.#isRetired = true;
    this.#endIfIdle();
  }

  /** Its slot is wanted again. */
  revive(): void {
    this.#isRetired = false;
  }

  /** Its life so far. */
  life(end: number, how: string): ChildLife {
    const { num, generation } = this.#start;
    return { num, generation, pid: this.pid, start: this.#launchedAt, end, how };
  }

  #hand(packed: PackedItems): void {
    const { options, wantsResults, endsAtError } = this.#owner!;
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
      this.#watch.begin();
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
    this.#host.onChildStart(this.#start.num);
    if (!isOneItem) this.#unsent.push(payload);
    const start = isOneItem ? { ...this.#start, payload } : this.#start;
    this.#output = this.#host.outputOf(start, {
      find: (seq) => this.#find(seq),
      hold: (isHeld) => this.#child?.output?.hold(isHeld),
    });
    this.#child = this.#host.launch(start, {
      onReady: () => this.#onReady(),
      onWaiting: () => this.#onWaiting(),
      onAnswer: (answer) => this.#listen(answer),
      onBreach: (reason) => this.#break(reason),
      onOutput: (name, bytes) => this.#output?.push(name, bytes),
      onEnd: (end) => this.#onEnd(end),
    });
    // Of a thread it is not read.
    if (!this.#child.output) this.#output = undefined;
    this.#collector.follow(this.#child, this.#output);
  }

  /** Its time does not count. In a pool it may be for as long as that lives: what it was to do is for others. */
  #onWaiting(): void {
    this.#watch.stop();
    if (this.#host.isOneItem) {
      // It was taken to be ready when it was asked for.
      this.#state = "starting";
      return;
    }
    this.#isWaiting = true;
    this.recall();
    this.#host.onFree();
  }

  #onReady(): void {
    if (this.#state !== "starting") return this.#break("said a second time that it is ready");
    this.#state = "serving";
    this.#isWaiting = false;
    this.#host.onChildReady(this.#start.num, this.pid);
    for (const payload of this.#unsent.splice(0)) this.#send(payload);
    this.#watch.ready();
    // All was taken back while it was starting.
    if (this.load === 0) this.#idle();
    if (!this.#host.isOneItem) this.#host.onFree();
  }

  #send(payload: Payload): void {
    this.#lastId += 1;
    this.#child!.send({ id: String(this.#lastId), payload });
  }

  #listen(message: unknown): void {
    if (this.#collector.breach !== undefined) return;
    try {
      this.#onAnswer(readAnswer(message));
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#break(error.message);
    }
  }

  /** Nothing it says counts any more. Items that it has begun fail with the reason, and are not run again. */
  #break(reason: string): void {
    if (this.#collector.breach !== undefined) return;
    const breach = `its child ${reason}`;
    this.#collector.breach = breach;
    if (this.#isGone) return;
    this.#child!.kill("SIGKILL");
    if (this.load > 0) return;
    process.emitWarning(`Between two items, ${breach} (num ${this.#start.num}, pid ${this.pid})`, {
      type: "ForkmapWarning",
      code: "FORKMAP_PROTOCOL",
    });
  }

  #onAnswer(answer: Answer): void {
    if (this.#state !== "serving") return;
    this.#collector.collect();
    if (this.#collector.taken > 0) this.#returns = 0;
    if (answer.full) this.#isFull = true;
    const isLast = answer.id === String(this.#lastId);
    if (answer.status === "returned") {
      this.#checkReturned(answer);
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

  /** Of those that count as begun, one has not been: that at which it saw that all is recalled. */
  #checkReturned({ from, to }: { readonly from: number; readonly to: number }): void {
    const begun = this.#tasks.upTo(Math.min(to, this.#collector.begun()));
    const isWrong = begun.filter(([seq]) => seq >= from).length > 1;
    if (isWrong || from > to || to > this.#tasks.next) {
      throw new Breach(`gave back items ${from} to ${to}, which it does not have or has begun`);
    }
    if (this.#isRecalled) return;
    this.#returns += 1;
    if (this.#returns > MAX_STRAYS) throw new Breach("gives back all items that it gets");
    // Somebody else may have written the word.
    this.#ledger.recall(false);
  }

  /** The child knows: it has dropped what was taken back. */
  #forgetRecall(): void {
    if (!this.#isRecalled) return;
    this.#isRecalled = false;
    this.#ledger.recall(false);
  }

  #idle(): void {
    this.#watch.idle();
    this.#owner = undefined;
    this.#collector.forget();
    this.#child?.overflow.rest(true);
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    // It may hang while it boots, and nobody needs it.
    if (this.#state === "starting" && this.load === 0 && this.#isRetired) this.kill("SIGKILL");
    if (this.#state !== "serving" || this.load > 0 || this.#host.isOneItem) return;
    const isDone = this.#share >= this.#host.maxItemsPerChild;
    if (!this.#isRetired && !this.#isFull && !isDone) return;
    this.#state = "ending";
    // Of its own accord after its last item.
    if (!isDone) this.#child!.send({ do: "end" });
    this.#watch.allowTime();
  }

  #find(seq: number): ReturnType<OutputSource["find"]> {
    const task = this.#tasks.get(seq);
    return task && { task, owner: this.#owner! };
  }

  /** Those from `from` up to `to` have not been begun. */
  #giveBack(from: number, to = this.#tasks.next): void {
    const tasks = this.#tasks.takeAll(from, to);
    this.#share -= tasks.length;
    if (tasks.length > 0) this.#owner!.returned(tasks);
  }

  #onEnd(end: ChildEnd): void {
    this.#watch.stop();
    const wasKilled = this.#forceTimer !== undefined;
    clearTimeout(this.#forceTimer);
    this.#isGone = true;
    const isScarce = !end.started && end.isScarce === true;
    this.#isHopeless = isScarce && this.#host.isHopeless(this.#start.num);
    const { lost, ending } = this.#collector.close(end, (next) =>
      this.#isLost(next, end, wasKilled),
    );
    const rest = this.#tasks.takeAll();
    const life = this.life(monotonic(), howOf(end));
    warnOfTeardown(ending, this.#state === "ending", life);
    this.#output?.end();
    this.#onGone(isScarce);
    this.#host.onChildEnd(life, end.started);
    const owner = this.#owner;
    if (!end.started && end.fatal) owner?.doomed(end.fatal);
    else if (!end.started && this.#isHopeless) {
      owner?.doomed(new LaunchError(end.reason, { cause: end.cause }));
    }
    for (const { task, failure, run } of lost) owner!.failed(task, failure, run);
    if (rest.length > 0) owner!.returned(rest);
    this.#host.onFree();
  }

  /** Whether a task that it had not begun is not to be given to another. */
  #isLost(task: Task, end: ChildEnd, wasKilled: boolean): boolean {
    if (this.#collector.isTimedOut(task)) return true;
    if (wasKilled) return false;
    if (!end.started) return !end.isScarce || this.#isHopeless;
    // A child that exits by itself before it is ready will do so again; but not one that others took along.
    const hasExited = this.#state === "starting" && end.signal === undefined;
    if ((this.#host.isOneItem || hasExited) && !end.isShared) return true;
    task.strays = (task.strays ?? 0) + 1;
    return task.strays > MAX_STRAYS;
  }
}

function howOf(end: ChildEnd): string {
  if (!end.started) return end.reason;
  return end.signal ?? (end.exitCode === undefined ? "lost" : `exit code ${end.exitCode}`);
}
