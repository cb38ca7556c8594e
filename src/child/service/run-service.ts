/**
 * The folder holds what runs instances of services in children. Here: calls `run`, and ends the child when it has settled. How the child
 * talks to its container and how it ends is the part of its entry (`ServiceLink`).
 */
import { inspect } from "node:util";
import type { Service } from "../../container/service.js";
import { recordError } from "../../wire/error-record.js";
import type { ToInstance } from "../../wire/notification.js";
import type { Start } from "../../wire/protocol.js";
import { enterFrame } from "../../worker/current-context.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { Kind } from "../../worker/worker.js";
import { writeFully } from "../items/stdio.js";
import type { Ending } from "../items/watch-exit.js";
import type { Supervised } from "../items/supervised.js";
import { RunningInstance } from "./running-instance.js";
import type { ServiceLink } from "../items/service-link.js";

const RETURNED_TOO_EARLY =
  "run() returned while its server listens, and the instance ends with it: await instance.serve(server), or what tells that it is to end";

export class ServiceRunner {
  readonly #service: Service;
  readonly #source: WorkerSource;
  readonly #start: Start;
  readonly #link: ServiceLink;
  readonly #instance: RunningInstance;
  #isDone = false;

  constructor(service: object, source: WorkerSource, kind: Kind, start: Start, link: ServiceLink) {
    const { num, generation } = start;
    const { name } = start.service!;
    const child = enterFrame({ kind, num, name }, generation, source.context);
    this.#service = service as Service;
    this.#source = source;
    this.#start = start;
    this.#link = link;
    this.#instance = new RunningInstance(child, start.service!, link, source.supervision);
  }

  /** What a supervisor asks of it. */
  get supervised(): Supervised {
    const instance = this.#instance;
    return {
      inFlight: () => instance.inFlight,
      items: () => instance.requests,
      replace: (reason) => instance.replace({ reason }),
    };
  }

  follow(message: ToInstance): void {
    if (message.do === "stop") this.#instance.interrupt(message.within);
    else this.#instance.tellInstances(message.instances);
  }

  async run(): Promise<void> {
    try {
      const { threads } = this.#start.service!;
      if (threads) await this.#runThreads();
      else await this.#service.run(this.#instance);
      if (this.#instance.isServing) throw new Error(RETURNED_TOO_EARLY);
    } catch (error) {
      this.#fail(error);
      return this.#link.leave(1);
    }
    this.#isDone = true;
    this.#link.leave(Number(process.exitCode ?? 0));
  }

  /** The process is about to end, for another reason than that `run` has settled. */
  cutShort(ending: Ending): void {
    if (this.#isDone) return;
    this.#isDone = true;
    if (ending.how !== "uncaught") return;
    this.#link.say({ notify: { error: recordError(ending.error) } });
  }

  /** Tells what `run` threw: prints it as Node prints an uncaught error, and reports it. */
  #fail(error: unknown): void {
    this.#isDone = true;
    this.#link.say({ notify: { error: recordError(error) } });
    try {
      writeFully(2, Buffer.from(`Uncaught ${inspect(error)}\n`));
    } catch {
      // stderr is closed or has no reader.
    }
  }

  async #runThreads(): Promise<void> {
    const { runThreads } = await import("./threaded-service.js");
    await runThreads(this.#service, this.#source, this.#start.service!, this.#instance);
  }
}
