/** One `run` of a `QueueWorker`: children that are ready, then jobs, until it is stopped or killed or finds that this machine cannot run them. */
import { ClosedError } from "../errors.js";
import type { ServeEvent, Serving } from "../pool/engine.js";
import type { AnyWorker } from "../worker/worker.js";
import { BullmqEngine } from "./bullmq/engine.js";
import type { Counts } from "./job-counts.js";
import type { JobRunner } from "./job-runner.js";
import type { Log } from "./logger.js";
import type { ResolvedQueueWorkerOptions } from "./resolve-options.js";
import { ServedWorker } from "./served-worker.js";

export interface SessionParts {
  readonly options: ResolvedQueueWorkerOptions;
  readonly workers: readonly AnyWorker<never, unknown>[];
  readonly nameOf: (worker: object) => string | undefined;
  readonly counts: Counts;
  readonly log: Log;
  readonly onReady: () => void;
}

export type SessionState = "starting" | "serving" | "stopping";

export class ServeSession {
  readonly #parts: SessionParts;
  readonly #workers: ReadonlyMap<string, ServedWorker>;
  readonly #stopping = new Moment();
  readonly #killing = new Moment();
  #serving: Serving | undefined;
  #isConnected = false;
  /** Why this machine cannot serve. */
  #failure: Error | undefined;

  constructor(parts: SessionParts) {
    const { options, workers, nameOf } = parts;
    this.#parts = parts;
    this.#workers = new Map(
      workers.map((worker) => [nameOf(worker)!, new ServedWorker(worker, options)]),
    );
  }

  get state(): SessionState {
    if (this.#stopping.isOver) return "stopping";
    return this.#serving ? "serving" : "starting";
  }

  get isConnected(): boolean {
    return this.#serving?.isConnected ?? false;
  }

  /** Jobs taken and not yet acknowledged. */
  get held(): number {
    return this.#serving?.jobs ?? 0;
  }

  get pids(): readonly number[] {
    return [...this.#workers.values()].flatMap(({ pids }) => pids);
  }

  /** @throws EngineError, WorkerModuleError or LaunchError if this machine cannot serve */
  async run(): Promise<void> {
    try {
      const isReady = this.#ready().then(() => true);
      if (await Promise.race([isReady, this.#stopping.promise.then(() => false)]))
        await this.#serve();
    } finally {
      await this.#close();
    }
    if (this.#failure) throw this.#failure;
  }

  /** Takes no more jobs; `run` returns once those that were taken are acknowledged. */
  stop(): void {
    this.#stopping.pass();
  }

  /** Kills the children, and gives back all jobs. */
  kill(): void {
    this.#killing.pass();
    this.#stopping.pass();
  }

  /** The server is checked while the children start, which may take as long as `startupTimeout`. */
  async #ready(): Promise<void> {
    const { checkServer } = await import("./bullmq/check-server.js");
    const { connection, prefix } = this.#parts.options.server;
    const workers = [...this.#workers.values()].map((worker) => worker.ready());
    await Promise.all([checkServer(connection, prefix), ...workers]);
  }

  async #serve(): Promise<void> {
    const { options, log, onReady } = this.#parts;
    const { prefetch, retry, slots, server } = options;
    const names = [...this.#workers.keys()];
    const queues = options.queues.length > 0 ? options.queues : names;
    const runner = await this.#makeRunner();
    const serving = await new BullmqEngine(server).serve({
      queues,
      workers: names,
      slots,
      prefetch,
      retry,
      runBatch: (job) => runner.runBatch(job),
      runJob: (job) => runner.runJob(job),
      onEvent: (event) => this.#on(event),
    });
    this.#serving = serving;
    if (this.state === "serving") {
      log("info", `Serving ${inWords(queues)} with room for ${slots} items at once`, {
        queues,
        workers: names,
        slots,
        prefetch,
      });
      onReady();
    }
    await this.#stopping.promise;
    if (!this.#killing.isOver) {
      log("info", `Stopping, with ${serving.jobs} jobs to finish`, { jobs: serving.jobs });
      await Promise.race([serving.stop(), this.#killing.promise]);
    }
    if (!this.#killing.isOver) return;
    log("info", `Giving back ${serving.jobs} jobs`, { jobs: serving.jobs });
    await Promise.all([serving.kill(), this.#destroy()]);
  }

  /** Loaded here, as a child that loads its worker from a program with a `QueueWorker` serves nothing. */
  async #makeRunner(): Promise<JobRunner> {
    const { JobRunner } = await import("./job-runner.js");
    const { options, nameOf, counts, log } = this.#parts;
    const { dispatcher, middleware = [] } = options.given;
    return new JobRunner({
      workers: this.#workers,
      nameOf,
      slots: options.slots,
      counts,
      log,
      dispatcher,
      middleware,
      onBroken: (error) => this.#fail(error),
    });
  }

  /** With children that are idle, or still starting. */
  async #close(): Promise<void> {
    if (this.#serving && !this.#killing.isOver) {
      await Promise.all([...this.#workers.values()].map((worker) => worker.close()));
    } else await this.#destroy();
  }

  async #destroy(): Promise<void> {
    const reason = new ClosedError("The queue worker was killed");
    await Promise.all([...this.#workers.values()].map((worker) => worker.destroy(reason)));
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#parts.log("error", `This machine cannot serve: ${error.message}`, { err: error });
    this.kill();
  }

  #on(event: ServeEvent): void {
    const { counts, log } = this.#parts;
    switch (event.what) {
      case "connected":
        if (!this.#isConnected) log("info", "Connected to the server");
        this.#isConnected = true;
        break;
      case "disconnected":
        if (this.#isConnected) log("warn", "The server is away: trying to reach it again");
        this.#isConnected = false;
        break;
      case "refused":
        counts.jobs.refused += 1;
        log("warn", refusal(event), { queue: event.queue, job: event.job });
        break;
      case "lost":
        counts.jobs.lost += 1;
        log("warn", loss(event), { queue: event.queue, job: event.job });
        break;
      case "error":
        log("warn", `The engine reports: ${event.error.message}`, { err: event.error });
        break;
    }
  }
}

interface OfJob {
  readonly job: string;
  readonly queue: string;
}

function refusal({ job, queue }: OfJob): string {
  return `Job ${job} of queue "${queue}" was not acknowledged: another machine has it, or it is gone`;
}

function loss({ job, queue }: OfJob): string {
  return `Job ${job} of queue "${queue}" was given to another machine, as this process did not run, or did not reach the server, for about \`crashTimeout\``;
}

function inWords(queues: readonly string[]): string {
  const names = queues.map((name) => `"${name}"`).join(", ");
  return queues.length === 1 ? `queue ${names}` : `queues ${names}`;
}

/** Something that happens once. */
class Moment {
  readonly promise: Promise<void>;
  isOver = false;
  readonly #resolve: () => void;

  constructor() {
    let pass!: () => void;
    this.promise = new Promise((resolve) => (pass = resolve));
    this.#resolve = pass;
  }

  pass(): void {
    this.isOver = true;
    this.#resolve();
  }
}
