/** The BullMQ worker of one queue: fetches, and checks for jobs of machines that went silent. It keeps no locks; lock-keeper.ts does. */
import type { Job, Processor, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { setImmediate, setTimeout } from "../../system/timers.js";
import type { Bullmq } from "./libraries.js";

export interface QueueReaderOptions {
  readonly bullmq: Bullmq;
  /** For all commands but those that block, which have a connection of their own. */
  readonly client: Redis;
  readonly prefix: string;
  /** How long a lock holds when a job is fetched, and the pause between checks for locks that hold no more, in ms. */
  readonly lockDuration: number;
  readonly stalledInterval: number;
  readonly maxCrashes: number;
  readonly machine: string;
  /** In ms. */
  readonly retryPause: number;
  /** Asked before each check. */
  mayCheck(): boolean;
  process: Processor;
  /** Called when a job has been fetched, before it is processed. */
  onTaken(job: Job): void;
  onError(error: Error): void;
}

export class QueueReader {
  readonly queue: string;
  readonly worker: Worker;
  /** One loop of fetches; ends by a pause. */
  #loop: Promise<void> = Promise.resolve();
  #resting: Promise<void> | undefined;
  #isStopped = false;

  constructor(queue: string, options: QueueReaderOptions) {
    const { bullmq, client, prefix, process, machine, maxCrashes, retryPause } = options;
    const { lockDuration, stalledInterval } = options;
    this.queue = queue;
    this.worker = new bullmq.Worker(queue, process, {
      connection: client,
      prefix,
      name: machine,
      autorun: false,
      skipLockRenewal: true,
      lockDuration,
      stalledInterval,
      maxStalledCount: maxCrashes,
      runRetryDelay: retryPause,
    });
    const run = this.worker.run.bind(this.worker);
    // BullMQ calls it again after a pause.
    this.worker.run = () => (this.#loop = run());
    const backend = this.worker.getBackend();
    const check = backend.moveStalledJobsToWait.bind(backend);
    backend.moveStalledJobsToWait = async () => (options.mayCheck() ? await check() : []);
    this.worker.on("active", options.onTaken);
    this.worker.on("error", (error) => {
      options.onError(error);
      if (error.name === "ReplyError") this.#resting ??= this.#rest(retryPause);
    });
  }

  /** Fetches until it is stopped; resolves once all jobs are done. */
  async run(): Promise<void> {
    void this.worker.run();
    for (;;) {
      await this.#loop;
      if (this.#isStopped || !this.#resting) return;
      await this.#resting;
    }
  }

  /** Fetches no more; what has been asked for already may still come. Resolves once nothing is asked for, if the server is there. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    // At once; what it returns waits for nothing.
    void this.worker.pause(true);
    await this.#cut().catch(() => {});
  }

  /** Closes the connections; what has not been sent is dropped. */
  async close(): Promise<void> {
    // If it never came to be, BullMQ's promise of it stays open for as long as the server is away.
    const soon = new Promise<undefined>((resolve) => void setImmediate(resolve, undefined));
    const client = await Promise.race([this.#blocking(), soon]);
    // By force, ioredis would end it again, with a timer that holds the program for two seconds.
    const isEnded = client?.status === "end" && !this.worker.isRunning();
    await this.worker.close(!isEnded);
  }

  /** Returns the connection for commands that block; `undefined` if it never came to be. */
  async #blocking() {
    return await this.worker.getBackend().blockingClient!.catch(() => undefined);
  }

  /** The server refuses fetches, such as while it cannot save; BullMQ would ask again at once, and for ever. */
  async #rest(pause: number): Promise<void> {
    void this.worker.pause(true);
    await new Promise((resolve) => setTimeout(resolve, pause).unref());
    this.#resting = undefined;
    if (!this.#isStopped) void this.worker.resume();
  }

  /**
   * Ends the command that waits for a job: it would still take one, and, when a job is given back, the sign that there is one, which is for one
   * machine only. It is over when the server has closed the connection.
   */
  async #cut(): Promise<void> {
    const backend = this.worker.getBackend();
    const client = await this.#blocking();
    if (!client) return;
    if (client.status === "ready") await backend.disconnectBlocking(true);
    // To end a client that is about to connect would stop it for good, with the command in its queue.
    else client.once("ready", () => void this.#cut().catch(() => {}));
  }
}
