/**
 * A child in a slot, from its start to its end: starts the child, sends it tasks, and ends it after its last item, when
 * it holds too much memory, or when its slot is not wanted any more. Which tasks the child has is in child-tasks.ts.
 *
 *   new ──run──▶ starting ──ready──▶ serving ──last item, too large, not wanted──▶ ending
 *                    │                  │                                            │
 *                    └──────────────────┴───── ended, in whatever way ◀──────────────┘
 */
import { LaunchError } from "../errors.js";
import type { Child, ChildEnd } from "../launch/launcher.js";
import type { ChildLife } from "../observe/diagnostics.js";
import { monotonic } from "../system/monotonic.js";
import { Breach } from "../wire/breach.js";
import { readAnswer } from "../wire/check-message.js";
import type { PackedItems } from "../wire/items.js";
import type { Ledger } from "../wire/ledger.js";
import type { Answer, Payload, Start } from "../wire/protocol.js";
import type { Batch, Task } from "../wire/task.js";
import { endInWords, isLostWith, warnOfBreach, warnOfTeardown } from "./child-end.js";
import { ChildKill } from "../launch/child-kill.js";
import { ChildTasks } from "./child-tasks.js";
import { ChildWatch } from "./child-watch.js";
import type { ChildOutput } from "./output/child-output.js";
import type { SlotHost } from "./slot-host.js";
import type { TaskOwner } from "./task-owner.js";

export class SlotChild {
  readonly tasks: ChildTasks;
  readonly #host: SlotHost;
  readonly #start: Start;
  readonly #onGone: (isScarce: boolean) => void;
  readonly #watch: ChildWatch;
  readonly #kill = new ChildKill();
  #state: "new" | "starting" | "serving" | "ending" = "new";
  #child: Child | undefined;
  #output: ChildOutput | undefined;
  #launchedAt = 0;
  #lastId = 0;
  /** Payloads to send once the child is ready. */
  readonly #unsent: Payload[] = [];
  #isRetired = false;
  /** No process could be made for the child yet: it takes no tasks. */
  #isWaiting = false;
  /** The child could not be started, and no other child runs whose end could help. */
  #isHopeless = false;
  #isGone = false;

  /**
   * @param onGone - called first when the child has ended; `isScarce`: it could not be started for lack of a resource
   */
  constructor(start: Start, ledger: Ledger, host: SlotHost, onGone: (isScarce: boolean) => void) {
    this.#start = start;
    this.#host = host;
    this.#onGone = onGone;
    this.tasks = new ChildTasks(start, ledger, host, (reason) => this.#break(reason));
    const { list: tasks, collector } = this.tasks;
    this.#watch = new ChildWatch({
      tasks,
      collector,
      isServing: () => this.#state === "serving",
      look: () => this.#look(),
      timeoutOf: (task) => this.owner!.optionsOf(task).timeout,
      kill: () => this.kill(),
    });
  }

  get load(): number {
    return this.tasks.size;
  }

  get pid(): number | undefined {
    return this.tasks.collector.pid;
  }

  get owner(): TaskOwner | undefined {
    return this.tasks.owner;
  }

  /** Returns how many tasks of this call the child could take now. */
  roomFor(owner: TaskOwner): number {
    if (this.#isWaiting || this.#kill.isUnderWay || this.#state === "ending") return 0;
    return this.tasks.roomFor(owner, this.#state === "serving");
  }

  /** Gives the child tasks, at most as many as it has room for. */
  run(batch: Batch, packed: PackedItems, owner: TaskOwner): void {
    const now = monotonic();
    this.#kill.prepare(owner.options);
    this.#watch.handed(batch, this.load === 0, now, owner);
    const payload = this.tasks.add(batch, packed, owner, now);
    if (this.#state === "serving") {
      this.#child!.overflow.rest(false);
      this.#send(payload);
      this.#watch.begin();
    } else if (this.#state === "starting") {
      this.#unsent.push(payload);
    } else {
      this.#launch(payload);
    }
  }

  /** Ends the child with all it runs: by `killSignal` and then SIGKILL, or by SIGKILL at once. */
  kill(signal?: "SIGKILL"): void {
    if (!this.#child) return;
    if (signal) this.#child.kill(signal);
    else this.#kill.begin(this.#child);
  }

  /** Returns how many tasks of this call the child has not begun and could be made to give back. */
  waiting(owner: TaskOwner): number {
    return this.#state === "serving" ? this.tasks.waiting(owner) : 0;
  }

  /** Ends a task at once; see `TaskPlace`. */
  abort(task: Task): void {
    // What the child has done and not reported yet does not run beside it.
    this.#look();
    if (this.tasks.abort(task)) this.recall();
    this.#look();
    if (this.tasks.areUnwanted) this.kill();
    this.#host.onFree(this.#start.num);
  }

  /** Takes back the tasks that the child has not begun. */
  recall(): void {
    // A child with one item is started for it: the item is in flight at once.
    if (this.#host.isOneItem) return;
    if (this.#state === "starting") {
      this.#unsent.length = 0;
      this.tasks.takeBack();
    } else if (this.#state === "serving") {
      if (this.tasks.recall() && this.load === 0) this.#watch.allowTime();
    }
  }

  /** Sets whether the slot is not wanted any more: the child then ends once it has no tasks. */
  retire(isRetired: boolean): void {
    this.#isRetired = isRetired;
    this.#endIfIdle();
  }

  /** Returns the life of the child so far. */
  life(end: number, how: string): ChildLife {
    const { num, generation } = this.#start;
    return { num, generation, pid: this.pid, start: this.#launchedAt, end, how };
  }

  #launch(payload: Payload): void {
    const { isOneItem } = this.#host;
    this.#state = "starting";
    this.#launchedAt = monotonic();
    this.#host.onChildStart(this.#start.num);
    if (!isOneItem) this.#unsent.push(payload);
    const start = isOneItem ? { ...this.#start, payload } : this.#start;
    this.#output = this.#host.outputOf(start, {
      find: (seq) => this.tasks.find(seq),
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
    // The output of a thread cannot be read.
    if (!this.#child.output) this.#output = undefined;
    this.tasks.collector.follow(this.#child, this.#output);
  }

  /**
   * The wait for a process does not count against `timeout`. In a pool the wait may last as long as the pool lives, so
   * other slots get the tasks.
   */
  #onWaiting(): void {
    this.#watch.stop();
    if (this.#host.isOneItem) {
      // The launcher reported it as ready when it requested the process.
      this.#state = "starting";
      return;
    }
    this.#isWaiting = true;
    this.recall();
    this.#host.onFree(this.#start.num);
  }

  #onReady(): void {
    if (this.#state === "ending") return;
    if (this.#state !== "starting") return this.#break("said a second time that it is ready");
    this.#state = "serving";
    this.#isWaiting = false;
    this.#host.onChildReady(this.#start.num, this.pid);
    for (const payload of this.#unsent.splice(0)) this.#send(payload);
    this.#watch.ready();
    // All tasks were taken back while it was starting.
    if (this.load === 0) this.#idle();
    if (!this.#host.isOneItem) this.#host.onFree(this.#start.num);
  }

  #send(payload: Payload): void {
    this.#lastId += 1;
    this.#child!.send({ id: String(this.#lastId), payload });
  }

  #listen(message: unknown): void {
    if (this.tasks.collector.breach !== undefined) return;
    try {
      this.#onAnswer(readAnswer(message));
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#break(error.message);
    }
  }

  /** Ignores the child from now on and kills it. Items that it has begun fail with the reason and are not run again. */
  #break(reason: string): void {
    const { collector } = this.tasks;
    if (collector.breach !== undefined) return;
    collector.breach = `its child ${reason}`;
    if (this.#isGone) return;
    this.#child!.kill("SIGKILL");
    if (this.load === 0) warnOfBreach(collector.breach, this.#start.num, this.pid);
  }

  /** Collects what the child has recorded; if it runs one item, only after its end: then its resource usage is known. */
  #look(): void {
    if (this.#host.isOneItem) return;
    this.tasks.collector.collect();
    const holdsTooMany = this.tasks.holdsTooMany();
    if (holdsTooMany) this.recall();
    if (holdsTooMany || this.tasks.collector.taken > 0) this.#host.onFree(this.#start.num);
  }

  #onAnswer(answer: Answer): void {
    if (this.#state !== "serving") return;
    const isLast = () => answer.id === String(this.#lastId);
    // A child that says that all items are done but has recorded nothing of some is not to be trusted with more.
    if (!this.tasks.settle(answer, isLast)) this.kill();
    if (this.tasks.holdsTooMany()) this.recall();
    if (this.load === 0) this.#idle();
    this.#host.onFree(this.#start.num);
  }

  #idle(): void {
    this.#watch.idle();
    this.tasks.forget();
    this.#child?.overflow.rest(true);
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    // The child may hang while it starts, and is not needed: it takes no tasks, even if its slot is wanted again.
    if (this.#state === "starting" && this.load === 0 && this.#isRetired) {
      this.#state = "ending";
      return this.kill("SIGKILL");
    }
    if (this.#state !== "serving" || this.load > 0 || this.#host.isOneItem) return;
    if (!this.#isRetired && !this.tasks.isFull) return;
    this.#state = "ending";
    // After its last item a child ends by itself.
    if (!this.tasks.isShareUsedUp) this.#child!.send({ do: "end" });
    this.#watch.allowTime();
  }

  #onEnd(end: ChildEnd): void {
    this.#watch.stop();
    const wasKilled = this.#kill.isUnderWay;
    this.#kill.end();
    this.#isGone = true;
    const isScarce = !end.started && end.isScarce === true;
    this.#isHopeless = isScarce && this.#host.isHopeless(this.#start.num);
    const { collector, list } = this.tasks;
    const { lost, ending } = collector.close(end, (next) => this.#isLost(next, end, wasKilled));
    const rest = list.takeAll();
    const life = this.life(monotonic(), endInWords(end));
    warnOfTeardown(ending, this.#state === "ending", life);
    this.#output?.end();
    this.#onGone(isScarce);
    this.#host.onChildEnd(life, end.started);
    const { owner } = this.tasks;
    if (!end.started && end.fatal) owner?.doomed(end.fatal);
    else if (!end.started && this.#isHopeless) {
      owner?.doomed(new LaunchError(end.reason, { cause: end.cause }));
    }
    for (const { task, failure, run } of lost) owner!.failed(task, failure, run);
    if (rest.length > 0) owner!.returned(rest);
    this.#host.onFree(this.#start.num);
  }

  #isLost(task: Task, end: ChildEnd, wasKilled: boolean): boolean {
    if (this.tasks.collector.isTimedOut(task)) return true;
    return isLostWith(task, end, {
      isOneItem: this.#host.isOneItem,
      wasStarting: this.#state === "starting",
      wasKilled,
      isHopeless: this.#isHopeless,
    });
  }
}
