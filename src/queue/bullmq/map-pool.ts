/**
 * The pool of calls whose items run on many machines: makes jobs of the tasks that calls have, as many as keep the machines busy, and
 * gives each call what machines report. A job's report is the truth, and wakes this program at once: a machine adds it to a stream before it acknowledges the job.
 */
import type { MapPlan } from "../../pool/engine.js";
import type { Pool } from "../../pool/pool.js";
import type { TaskOwner, TaskPlace } from "../../pool/task-owner.js";
import { monotonic } from "../../system/monotonic.js";
import { Queue } from "../../system/queue.js";
import { clearInterval, setInterval, setTimeout } from "../../system/timers.js";
import { type Batch, type Task, tasksOf } from "../../wire/task.js";
import { NOWHERE, readReport, recordBatch } from "../batch-record.js";
import type { ResolvedBullmqOptions } from "./engine-options.js";
import { JobAdder } from "./job-adder.js";
import { JobCheck } from "./job-check.js";
import { batchMs, INDIVISIBLE_MS, mostJobs } from "./job-window.js";
import type { ReportFields } from "./keys.js";
import { MachineWatch } from "./machine-watch.js";
import { MapCaller } from "./map-caller.js";
import { abortJob, closeLink, type MapLink, openLink } from "./map-link.js";
import {
  failedJob,
  halvesOf,
  MappedJob,
  MappedJobs,
  refusedJob,
  unreadableJob,
} from "./mapped-job.js";
import { ReportReader } from "./report-reader.js";

/** How long the reports of a killed program are kept; a program may also stand still so long without losing any. */
const KEEP_REPORTS_MS = 600_000;

export class MapPool implements Pool, TaskPlace {
  readonly #link: MapLink;
  readonly #plan: MapPlan;
  readonly #reader: ReportReader;
  readonly #adder: JobAdder;
  readonly #check: JobCheck;
  readonly #machines: MachineWatch;
  readonly #callers = new Map<TaskOwner, MapCaller>();
  readonly #hungry = new Queue<MapCaller>();
  readonly #jobs = new MappedJobs();
  /** Of callers who may abort single tasks. */
  readonly #jobOf = new WeakMap<Task, MappedJob>();
  readonly #timer: NodeJS.Timeout;
  #limit: number | undefined;
  #lastId = 0;
  #isDispatching = false;
  #isDue = false;
  #isTicking = false;
  #closed: Promise<void> | undefined;

  /** @throws EngineError within two seconds if the server cannot be used */
  static async open(options: ResolvedBullmqOptions, plan: MapPlan): Promise<MapPool> {
    const pool = new MapPool(await openLink(options, plan.worker), plan);
    await pool.#reader.start(KEEP_REPORTS_MS);
    await pool.#tick();
    return pool;
  }

  private constructor(link: MapLink, plan: MapPlan) {
    const { client, waiter, queue, keys, id, options } = link;
    this.#link = link;
    this.#plan = plan;
    this.#reader = new ReportReader(client, waiter, keys, id, {
      onReport: (_, fields) => this.#onReport(fields),
      onRound: (rounds) => {
        this.#check.afterRound(rounds);
        this.dispatch();
      },
    });
    this.#adder = new JobAdder(queue, plan.worker, {
      onAdded: (job) => this.#onAdded(job),
      onRefused: (jobs, error) => {
        for (const job of jobs) this.#end(job, () => job.fail((each) => refusedJob(each, error)));
      },
    });
    this.#check = new JobCheck(client, queue, keys, {
      onFailed: (job, reason) => this.#end(job, () => job.fail((each) => failedJob(each, reason))),
      onMissing: (job) => this.#end(job, () => job.giveBack()),
    });
    this.#machines = new MachineWatch(link, plan.worker);
    this.#timer = setInterval(() => void this.#tick(), options.crashTimeout / 3).unref();
  }

  /** How many items all machines can run at once; set: how many may be under way. */
  get size(): number {
    return this.#limit ?? Math.max(1, this.#machines.slots);
  }

  set size(count: number) {
    this.#limit = count;
    for (const caller of this.#callers.values()) this.#wants(caller);
    this.dispatch();
  }

  get batchMs(): number {
    return batchMs(this.#machines.slots);
  }

  readonly indivisibleMs = INDIVISIBLE_MS;

  get machines(): number {
    return this.#machines.count;
  }
  add(owner: TaskOwner): void {
    const ask = () => {
      this.#wants(caller);
      this.dispatch();
    };
    const caller = new MapCaller(owner, this.#link, this.#reader, this.#plan, ask);
    this.#callers.set(owner, caller);
    void caller.open((job) => this.#jobs.add(job)).then(ask);
  }

  async remove(owner: TaskOwner): Promise<void> {
    const caller = this.#callers.get(owner);
    if (!caller) return;
    this.#callers.delete(owner);
    this.#hungry.remove(caller);
    for (const job of caller.jobs) this.#jobs.delete(job);
    await caller.close();
  }

  wants(owner: TaskOwner): void {
    const caller = this.#callers.get(owner);
    if (caller) this.#wants(caller);
  }

  dispatch(): void {
    this.#isDue = true;
    // Taking tasks may end a call, and a result that is known already may be asked for in the middle of it.
    if (this.#isDispatching) return;
    this.#isDispatching = true;
    while (this.#isDue) {
      this.#isDue = false;
      for (let caller = this.#hungry.first; caller; caller = this.#hungry.first) {
        if (this.#jobs.size >= mostJobs(this.#machines.slots)) break;
        this.#hungry.remove(caller);
        if (this.#serve(caller)) this.#wants(caller);
      }
    }
    this.#isDispatching = false;
  }

  releaseItem(): void {}

  kill(owner: TaskOwner): void {
    for (const job of this.#callers.get(owner)?.jobs ?? []) void this.#abort(job);
  }

  recall(owner: TaskOwner): void {
    for (const job of this.#callers.get(owner)?.jobs ?? []) {
      if (job.isAdded) void this.#withdraw(job);
    }
  }

  /** Takes the task back if no machine has its job, else tells that machine. */
  abort(task: Task): void {
    const job = this.#jobOf.get(task);
    if (!job || !this.#jobs.has(job)) return;
    if (job.size === 1) return void this.#abort(job);
    const place = (job.batch as readonly Task[]).indexOf(task);
    void this.#withdraw(job).then((isBack) => {
      if (!isBack) void abortJob(this.#link, job.id, [place]);
    });
  }

  firstWaiting(): undefined {}

  killAll(): void {
    for (const owner of this.#callers.keys()) this.kill(owner);
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    this.#reader.close();
    await closeLink(this.#link);
  }

  #wants(caller: MapCaller): void {
    if (!caller.isOpen || this.#hungry.has(caller)) return;
    if (this.#callers.get(caller.owner) === caller) this.#hungry.push(caller);
  }

  /** Makes a job of tasks of this call, if it has any; returns whether it may have more. */
  #serve(caller: MapCaller): boolean {
    const { owner } = caller;
    const most = Math.min(owner.options.concurrency ?? Infinity, this.#limit ?? Infinity);
    const room = Math.min(most - caller.items, caller.batchSize);
    if (room <= 0 || owner.mayHaveTasks === false || !caller.mayAdd) return false;
    const batch = owner.take(room, this);
    if (batch.length === 0) return false;
    for (const part of caller.select(batch)) this.#send(caller, part);
    return true;
  }

  #send(caller: MapCaller, batch: Batch): void {
    const { owner } = caller;
    let record: ReturnType<typeof recordBatch>;
    try {
      record = recordBatch(batch, caller.stream, caller.optionsFor(batch));
    } catch (error) {
      const tasks = tasksOf(batch);
      owner.doomed(error as Error, tasks[0]);
      return owner.returned(tasks);
    }
    if (record && "failure" in record)
      return owner.failed(tasksOf(batch)[0]!, record.failure, NOWHERE);
    if (!record) {
      for (const half of halvesOf(batch)) this.#send(caller, half);
      return;
    }
    this.#lastId += 1;
    const job = new MappedJob(`${this.#link.id}-${this.#lastId}`, owner, batch);
    this.#jobs.add(job);
    caller.enter(job);
    if (owner.arrivesSingly) for (const task of tasksOf(batch)) this.#jobOf.set(task, job);
    this.#adder.add({ job, record, run: caller.run });
  }

  #onAdded(job: MappedJob): void {
    job.knownAt = monotonic();
    if (job.isAborted) void this.#abort(job);
  }

  #onReport({ job: id = "", report }: ReportFields): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    // The machine has ended what it ran of the job.
    if (report === undefined) return this.#end(job, () => job.giveBack());
    try {
      const read = readReport(report, job.size);
      for (const each of read.outcomes) {
        this.#plan.meter.ran(0, read.ms / job.size, 0, "result" in each);
      }
      this.#callers.get(job.owner)?.run?.closeJob(id, read.outcomes);
      this.#end(job, () => job.settle(read));
    } catch (cause) {
      this.#end(job, () => job.fail((task) => unreadableJob(task, cause)));
    }
  }

  /** The job is over: `settle` gives its tasks outcomes, or back. */
  #end(job: MappedJob, settle: () => void): void {
    if (!this.#jobs.delete(job)) return;
    this.#check.forget(job);
    const caller = this.#callers.get(job.owner);
    caller?.leave(job);
    settle();
    if (!caller) return;
    this.#wants(caller);
    this.dispatch();
  }

  async #abort(job: MappedJob): Promise<void> {
    if (!job.isAborted) {
      job.isAborted = true;
      // The server may be away. A machine that went silent has killed its children, or will.
      const giveUp = () => this.#end(job, () => job.giveBack());
      setTimeout(giveUp, this.#link.options.crashTimeout).unref();
    }
    if (job.isAdded && !(await this.#withdraw(job))) await abortJob(this.#link, job.id);
  }

  /** Removes a job that no machine has taken; returns whether it did. */
  async #withdraw(job: MappedJob): Promise<boolean> {
    const removed = await this.#link.queue.remove(job.id).catch(() => 0);
    if (removed !== 1) return false;
    this.#callers.get(job.owner)?.run?.forget(job.id);
    this.#end(job, () => job.giveBack());
    return true;
  }

  async #tick(): Promise<void> {
    if (this.#isTicking) return;
    this.#isTicking = true;
    try {
      await this.#machines.look(this.#jobs.values());
      this.dispatch();
      await this.#reader.keepStreams(KEEP_REPORTS_MS);
      await Promise.all([...this.#callers.values()].map((caller) => caller.renew()));
      // Again, for machines that had no connection.
      for (const { id } of this.#jobs.aborted()) await abortJob(this.#link, id);
      const age = this.#link.options.crashTimeout;
      await this.#check.look(this.#jobs.values(), age, () => this.#reader.rounds);
    } catch {
      // The server is away, or has no room: the next look may succeed.
    }
    this.#isTicking = false;
  }
}
