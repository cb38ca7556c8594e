/**
 * A machine that serves queues of BullMQ: fetch, acknowledgement and the search for jobs of machines that went silent are BullMQ's; locks, aborts and
 * the reports of batches are ours.
 *
 *   queue-reader.ts ── job ──▶ taken-job.ts ──▶ run-taken.ts ──▶ plan.runBatch, plan.runJob
 *     ▲ prefetch.ts: how many    │ lock-keeper.ts, aborts.ts: its signals       │
 *     └──── acknowledge.ts ◀─────┴──────────────── reports.ts: its report ◀─────┘
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Job } from "bullmq";
import type { Redis } from "ioredis";
import type { ServePlan, Serving } from "../../pool/engine.js";
import { Aborts } from "./aborts.js";
import { acknowledgeReliably, isRefusal } from "./acknowledge.js";
import { checkServer, makeClient } from "./connect.js";
import { type Bullmq, loadBullmq } from "./libraries.js";
import type { ResolvedBullmqOptions } from "./engine-options.js";
import { Keys } from "./keys.js";
import { extendLocks, type HeldLock } from "./lock-extender.js";
import { LockKeeper } from "./lock-keeper.js";
import { MachineEntry } from "./machines.js";
import { Prefetch, type Share } from "./prefetch.js";
import { persist, type Persistence } from "./persist.js";
import { QueueReader } from "./queue-reader.js";
import { Reports } from "./reports.js";
import { isPostponed, type RunParts, runTaken } from "./run-taken.js";
import { ServerLink } from "./server-link.js";
import { settledWithin } from "./settled-within.js";
import { Suspects } from "./suspects.js";
import { TakenJob } from "./taken-job.js";
import { TakenJobs } from "./taken-jobs.js";

/** How long `kill` waits for the ends of runs, in ms; then their jobs are given back though something may still run. */
const RUN_END_MS = 1500;
/** How long `kill` waits for the server, in ms: jobs that it could not give back come to other machines when their locks end. */
const GIVE_BACK_MS = 5000;
/** The same while the connection is down. */
const AWAY_MS = 400;

/**
 * Serves the queues of `plan` until it is stopped.
 *
 * @throws EngineError within two seconds if the server cannot be used, or the libraries are not installed
 */
export async function serve(options: ResolvedBullmqOptions, plan: ServePlan): Promise<Serving> {
  await checkServer(options.connection, options.prefix);
  const serving = new BullmqServing(options, plan);
  await serving.open();
  return serving;
}

class BullmqServing implements Serving {
  readonly #options: ResolvedBullmqOptions;
  readonly #plan: ServePlan;
  readonly #machine = `${hostname()}:${process.pid}`;
  readonly #jobs = new TakenJobs();
  readonly #prefetch: Prefetch;
  readonly #persistence: Persistence;
  readonly #lockDuration: number;
  /** All that `open` has opened so far; `close` closes it, the last first. */
  readonly #opened: (() => Promise<void> | void)[] = [];
  #link!: ServerLink;
  #client!: Redis;
  #keeper!: LockKeeper;
  #aborts!: Aborts;
  #entry!: MachineEntry;
  #readers: QueueReader[] = [];
  /** Resolves once all readers have ended. */
  #runs: Promise<unknown> = Promise.resolve();
  /** Resolves once the readers wait for no job any more. */
  #isCut: Promise<unknown> | undefined;
  #tellClosed!: () => void;
  readonly #closed = new Promise<void>((resolve) => (this.#tellClosed = resolve));
  #stopping: Promise<void> | undefined;
  #killing: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: ResolvedBullmqOptions, plan: ServePlan) {
    this.#options = options;
    this.#plan = plan;
    this.#prefetch = new Prefetch(plan.prefetch);
    this.#lockDuration = Math.round((options.crashTimeout * 2) / 3);
    this.#persistence = {
      retry: plan.retry,
      isOver: () => this.#closing !== undefined,
      onError: (error) => this.#link.tell(error),
    };
  }

  get isConnected(): boolean {
    return this.#link.isConnected;
  }

  get jobs(): number {
    return this.#jobs.size;
  }

  async open(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  kill(): Promise<void> {
    this.#killing ??= this.#kill();
    return this.#killing;
  }

  async #open(): Promise<void> {
    const { connection, prefix, crashTimeout } = this.#options;
    const { queues, workers, slots, prefetch, retry } = this.#plan;
    const bullmq = await loadBullmq();
    const clients = await Promise.all(
      ["commands", "aborts"].map(() => makeClient(connection, { retry, holdsLoop: true })),
    );
    const [client, subscriber] = clients as [Redis, Redis];
    this.#client = client;
    this.#link = new ServerLink(client, this.#plan);
    this.#opened.push(() => this.#link.close());
    this.#opened.push(() => subscriber.disconnect());
    this.#keeper = new LockKeeper({
      connection,
      prefix,
      retry,
      client,
      most: prefetch + queues.length,
      times: { duration: this.#lockDuration, interval: Math.round(crashTimeout / 5) },
      onLost: (locks) => this.#lose(locks),
    });
    this.#opened.push(() => this.#keeper.close());
    await this.#keeper.open();
    const keys = new Map(queues.map((queue) => [queue, new Keys(prefix, queue)]));
    this.#aborts = new Aborts(subscriber, keys, (queue, message) =>
      this.#jobs.obey(queue, message),
    );
    await this.#aborts.listen();
    const record = { id: randomUUID(), name: this.#machine, workers, slots };
    this.#entry = new MachineEntry(client, [...keys.values()], record, crashTimeout);
    this.#opened.push(() => this.#entry.leave());
    await this.#entry.enter();
    const parts: RunParts = {
      plan: this.#plan,
      reports: new Reports(client, this.#persistence),
      suspects: new Suspects(client, prefix, this.#options.maxCrashes),
      errors: bullmq,
      machine: this.#machine,
      giveBackAfter: RUN_END_MS,
      giveBack: (taken) => this.#giveBack(taken),
    };
    for (const queue of queues) this.#read(queue, parts, bullmq);
    this.#runs = Promise.allSettled(this.#readers.map((reader) => reader.run()));
  }

  #read(queue: string, parts: RunParts, bullmq: Bullmq) {
    const { prefix, crashTimeout, maxCrashes } = this.#options;
    const byJob = new WeakMap<Job, TakenJob>();
    const reader = new QueueReader(queue, {
      bullmq,
      client: this.#client,
      prefix,
      maxCrashes,
      machine: this.#machine,
      lockDuration: this.#lockDuration,
      stalledInterval: Math.round(crashTimeout / 3),
      retryPause: this.#plan.retry.min,
      // When the server is back, locks may have expired whose machines take them again once they are connected, each after a pause of its
      // own. A check before that, such as one that was asked for meanwhile, would have jobs run twice that are well.
      mayCheck: () => this.#link.backFor >= this.#lockDuration,
      onTaken: (job) => void byJob.set(job, this.#take(job, queue, share)),
      process: (job) => this.#run(byJob.get(job)!, parts),
      onError: (error) => this.#link.tell(error),
    });
    this.#opened.push(() => reader.close());
    const share = this.#prefetch.add(reader.worker);
    this.#readers.push(reader);
  }

  #take(job: Job, queue: string, share: Share): TakenJob {
    const taken = new TakenJob(job, queue, share);
    this.#keeper.take(taken.lock);
    this.#jobs.add(taken);
    share.take();
    acknowledgeReliably(job, {
      ...this.#persistence,
      relock: async () => (await this.#extend(taken.lock)).length === 0,
      onBegin: () => (taken.isAcknowledging = true),
      onRefused: () => this.#plan.onEvent({ what: "refused", job: taken.id, queue }),
      onDone: () => this.#release(taken),
    });
    for (const message of this.#aborts.of(queue, taken.id)) taken.obey(message);
    if (this.#killing) taken.stop("returned");
    return taken;
  }

  async #run(taken: TakenJob, parts: RunParts): Promise<unknown> {
    try {
      return await runTaken(taken, parts);
    } catch (error) {
      // Not acknowledged, so nothing else ends it.
      if (error instanceof parts.errors.WaitingError || isPostponed(error)) this.#release(taken);
      throw error;
    }
  }

  #release(taken: TakenJob): void {
    if (!this.#jobs.delete(taken)) return;
    this.#keeper.drop(taken.lock);
    taken.share.release();
  }

  #lose(locks: readonly HeldLock[]): void {
    for (const lock of locks) {
      const taken = this.#jobs.withLock(lock);
      // One that is being acknowledged has no lock any more as soon as that has succeeded; if it has not, it is refused.
      if (!taken || taken.end === "lost" || taken.isAcknowledging) continue;
      this.#keeper.drop(taken.lock);
      this.#plan.onEvent({ what: "lost", job: lock.id, queue: lock.queue });
      taken.stop("lost");
    }
  }

  async #extend(lock: HeldLock): Promise<HeldLock[]> {
    return await extendLocks(this.#client, this.#options.prefix, [lock], this.#lockDuration);
  }

  async #giveBack(taken: TakenJob): Promise<void> {
    await this.#isCut;
    try {
      await persist(() => taken.job.moveToWait(taken.lock.token), isRefusal, this.#persistence);
    } catch {
      this.#plan.onEvent({ what: "refused", job: taken.id, queue: taken.queue });
    }
  }

  /** Ends all fetches. */
  #cut(): void {
    this.#prefetch.end();
    this.#entry.leave();
    this.#isCut ??= settledWithin(Promise.all(this.#readers.map((each) => each.stop())), AWAY_MS);
  }

  async #stop(): Promise<void> {
    this.#cut();
    // Once killed, it is over, though commands may wait for a server that is away.
    await Promise.race([this.#runs, this.#closed]);
    await this.#close();
  }

  async #kill(): Promise<void> {
    this.#cut();
    for (const taken of this.#jobs) taken.stop("returned");
    await settledWithin(this.#runs, RUN_END_MS);
    await Promise.race([
      settledWithin(this.#runs, GIVE_BACK_MS),
      this.#link.whenAway().then(() => settledWithin(this.#runs, AWAY_MS)),
    ]);
    await this.#close();
  }

  #close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const close of this.#opened.toReversed()) await close();
      this.#tellClosed();
    })();
    return this.#closing;
  }
}
