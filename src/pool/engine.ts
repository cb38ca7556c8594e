/**
 * The interface to an engine: a place where tasks run on many machines. Two verbs: a program maps, machines serve. The queue
 * behind it is in queue/; without an engine, tasks run in children of this program.
 */
import type { Meter } from "../observe/stats.js";
import type { Engine, ItemFormat, RetryDelay } from "../options.js";
import type { Failure, Run, Task } from "../wire/task.js";
import type { Pool } from "./pool.js";

export interface TaskEngine extends Engine {
  /**
   * Opens the place where all calls of one `Parallel` run their tasks.
   *
   * @throws EngineError within two seconds if the server cannot be used
   */
  map(plan: MapPlan): Promise<Pool>;
  /**
   * Takes jobs from queues until it is stopped.
   *
   * @throws EngineError within two seconds if the server cannot be used
   */
  serve(plan: ServePlan): Promise<Serving>;
}

export interface MapPlan {
  /** `static workerName` of the worker's class. */
  readonly worker: string;
  readonly format: ItemFormat;
  readonly meter: Meter;
}

export interface ServePlan {
  readonly queues: readonly string[];
  /** Names of the workers that this machine has. */
  readonly workers: readonly string[];
  /** How many items can run here at once: those who map send as many as all machines can run, and some ahead. */
  readonly slots: number;
  /** The most jobs that are held at once, over all queues. */
  readonly prefetch: number;
  /** Pauses between attempts to reach the server. */
  readonly retry: Required<RetryDelay>;
  /** Runs a job of a call of `Parallel`; resolves once each of its items has an outcome. */
  runBatch(job: BatchJob): Promise<readonly ItemOutcome[]>;
  /** Runs any other job: what it resolves to acknowledges it, what it rejects with acknowledges it negatively. */
  runJob(job: SingleJob): Promise<unknown>;
  /** Tells what happens to the connection and to jobs. Never throws. */
  onEvent(event: ServeEvent): void;
}

interface TakenJob {
  readonly id: string;
  readonly queue: string;
  /** Name of the worker. */
  readonly name: string;
  /** 1 when the job is first run. */
  readonly attempt: number;
  /**
   * Aborted when nobody wants the outcome of the job any more (its caller has aborted it, or another machine has it), or when it is to be
   * given back: its items are then killed, and `runBatch` or `runJob` rejects, with anything.
   */
  readonly signal: AbortSignal;
}

export interface SingleJob extends TakenJob {
  readonly data: unknown;
  /** Whether what the worker threw asks for the job to be run later, when the queue's rate allows it: it has not failed. */
  isPostponed(error: unknown): boolean;
}

export interface BatchJob extends TakenJob {
  readonly tasks: readonly Task[];
  readonly format: ItemFormat;
  /** In ms, for each item. */
  readonly timeout: number | undefined;
  /** Whether the caller keeps the results; if not, they may be anything. */
  readonly wantsResults: boolean;
  /** Whether the caller reads `run` of the outcomes. */
  readonly wantsRuns: boolean;
  /** Whether items come from callers of their own, who may abort each alone. */
  readonly isSingly: boolean;
  /** Aborted when the caller does not want the item at this place any more; `undefined` if items have no signals of their own. */
  signalOf(place: number): AbortSignal | undefined;
}

/** What became of an item on a machine. */
export type ItemOutcome =
  | { readonly result: unknown; readonly run?: Run | undefined }
  | { readonly failure: Failure; readonly run?: Run | undefined };

export type ServeEvent =
  | { readonly what: "connected" | "disconnected" }
  /** An acknowledgement was refused: another machine has the job, or it is gone. */
  | { readonly what: "refused"; readonly job: string; readonly queue: string }
  /** The job's lock was lost, usually because this process stood still: its items are killed. */
  | { readonly what: "lost"; readonly job: string; readonly queue: string }
  | { readonly what: "error"; readonly error: Error };

/** A machine that serves. */
export interface Serving {
  readonly isConnected: boolean;
  /** Jobs taken and not yet acknowledged. */
  readonly jobs: number;
  /** Takes no more jobs; resolves once those that were taken are run and acknowledged, and all connections are closed. */
  stop(): Promise<void>;
  /** Aborts the signals of all jobs, gives them back, and closes all connections. After `stop`, too. */
  kill(): Promise<void>;
}
