/** A call in a map pool: its jobs under way, and the named run that it continues, if it does. */
import * as diagnostics from "../../observe/diagnostics.js";
import type { MapPlan } from "../../pool/engine.js";
import type { TaskOwner } from "../../pool/task-owner.js";
import { Link } from "../../system/queue.js";
import { setTimeout } from "../../system/timers.js";
import { EngineError } from "../../errors.js";
import { type Batch, type Task, tasksOf } from "../../wire/task.js";
import type { BatchOptions } from "../batch-record.js";
import type { MapLink } from "./map-link.js";
import { SlowStart } from "./job-window.js";
import { deliver, MappedJob } from "./mapped-job.js";
import { NamedRun } from "./named-run.js";
import type { ReportReader } from "./report-reader.js";

/** While results of an earlier program are found, nothing is sent: items may be asked for in large steps. */
const FOUND_BATCH = 100;

export class MapCaller extends Link {
  readonly owner: TaskOwner;
  readonly jobs = new Set<MappedJob>();
  run: NamedRun | undefined;
  isOpen = false;
  /** Items under way. */
  items = 0;
  readonly #link: MapLink;
  readonly #reader: ReportReader;
  readonly #plan: MapPlan;
  readonly #start: SlowStart;
  readonly #end = new AbortController();
  #opening: Promise<void> | undefined;
  /** Jobs of an earlier program, by id. */
  readonly #adopted = new Map<string, MappedJob>();

  /** @param onMore - called when it may have more jobs than before */
  constructor(
    owner: TaskOwner,
    link: MapLink,
    reader: ReportReader,
    plan: MapPlan,
    onMore: () => void,
  ) {
    super();
    this.#start = new SlowStart(onMore);
    this.owner = owner;
    this.#link = link;
    this.#reader = reader;
    this.#plan = plan;
  }

  /** Key of the stream for its reports. */
  get stream(): string {
    return this.run?.stream ?? this.#link.keys.reports(this.#link.id);
  }

  /** Whether it may have another job. */
  get mayAdd(): boolean {
    const isPaced = this.owner.options.batch === "auto" && !this.owner.arrivesSingly;
    return !isPaced || this.#start.allows(this.jobs.size);
  }

  get batchSize(): number {
    const { size } = this.owner.batching;
    return this.run && !this.run.isFresh ? Math.max(size, FOUND_BATCH) : size;
  }

  /** Waits until the named run is this program's. @param onAdopted - called for each job that an earlier program has added */
  async open(onAdopted: (job: MappedJob) => void): Promise<void> {
    this.#opening = this.#open(onAdopted);
    await this.#opening;
  }

  async #open(onAdopted: (job: MappedJob) => void): Promise<void> {
    const { run: name } = this.owner.options;
    if (name !== undefined) {
      const { client, keys, options } = this.#link;
      const { format, worker } = this.#plan;
      try {
        const { signal } = this.#end;
        this.run = await NamedRun.open(client, keys, name, {
          ...options,
          format,
          worker,
          signal,
          wantsResults: this.owner.wantsResults,
        });
      } catch (error) {
        return this.owner.doomed(error as Error);
      }
      for (const [id, size] of this.run.adoptedJobs) {
        const job = new MappedJob(id, this.owner, holes(size));
        job.isAdded = true;
        job.knownAt = -Infinity;
        this.#adopted.set(id, job);
        this.jobs.add(job);
        onAdopted(job);
      }
      this.#reader.add(this.run.stream, this.run.lastId);
    }
    this.isOpen = true;
  }

  /** Removes what an earlier program has found out or has under way; returns the rest in parts that can travel together. */
  select(batch: Batch): readonly Batch[] {
    if (this.owner.arrivesSingly) return this.#byTimeout(tasksOf(batch));
    if (!this.run || this.run.isFresh) return [batch];
    const rest: Task[] = [];
    const tasks = tasksOf(batch);
    for (const [at, task] of tasks.entries()) {
      try {
        const found = this.run.find(task);
        if (!found) rest.push(task);
        else if ("job" in found) {
          (this.#adopted.get(found.job)!.batch as Task[])[found.place] = task;
          this.items += 1;
        } else deliver(this.owner, [task], 0, found);
      } catch (error) {
        this.owner.doomed(error as Error);
        this.owner.returned([...rest, ...tasks.slice(at)]);
        return [];
      }
    }
    return rest.length > 0 ? [rest] : [];
  }

  optionsFor(batch: Batch): BatchOptions {
    const { owner } = this;
    const { onFinish, trace } = owner.options;
    return {
      format: this.#plan.format,
      timeout: owner.optionsOf(owner.arrivesSingly ? tasksOf(batch)[0] : undefined).timeout,
      results: owner.wantsResults,
      runs: onFinish !== undefined || trace !== undefined || diagnostics.items.hasSubscribers,
      singly: owner.arrivesSingly === true,
    };
  }

  enter(job: MappedJob): void {
    this.jobs.add(job);
    this.items += job.size;
  }

  leave(job: MappedJob): void {
    this.#start.noteEnd();
    this.jobs.delete(job);
    this.items -= this.#adopted.delete(job.id) ? job.tasks.length : job.size;
    this.run?.closeJob(job.id, undefined);
  }

  /** Renews what expires. */
  async renew(): Promise<void> {
    if (!this.run || (await this.run.renew())) return;
    const { name } = this.run;
    this.run = undefined;
    const what = `The run ${name} was taken over by another program, as this one stood still for longer than \`crashTimeout\`, ${this.#link.options.crashTimeout} ms`;
    this.owner.doomed(new EngineError(what, "lost"));
  }

  async close(): Promise<void> {
    this.#start.close();
    const { isComplete = false } = this.owner;
    this.#end.abort();
    // A server that is away must not keep the results from the caller; all keys expire.
    const late = new Promise<void>((resolve) => {
      setTimeout(resolve, this.#link.options.crashTimeout).unref();
    });
    await Promise.race([this.#close(isComplete).catch(() => {}), late]);
  }

  async #close(isComplete: boolean): Promise<void> {
    await this.#opening;
    if (!this.run) return;
    this.#reader.remove(this.run.stream);
    // What was found of items that the call has not asked for, another call may ask for.
    await this.run.close(isComplete && this.run.isFresh);
  }

  /** Each item of `run` may have a timeout of its own. */
  #byTimeout(tasks: readonly Task[]): Task[][] {
    const parts: Task[][] = [];
    let timeout: number | undefined;
    for (const task of tasks) {
      const own = this.owner.optionsOf(task).timeout;
      if (parts.length === 0 || own !== timeout) parts.push([]);
      parts.at(-1)!.push(task);
      timeout = own;
    }
    return parts;
  }
}

/** For tasks that the call has not come to. */
function holes(length: number): Task[] {
  const tasks: Task[] = [];
  tasks.length = length;
  return tasks;
}
