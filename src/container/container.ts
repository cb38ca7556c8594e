/**
 * A container: keeps instances of services alive in numbered slots. The folder holds it and what it consists of: slots (service-slot.ts), the life
 * of one child (instance-life.ts), how children are started (service-launch.ts, command-launch.ts), sockets, policies, and the controller of a program.
 *
 *   spawn, run ──▶ ServiceSlot 0 ──▶ InstanceLife ──▶ child: run(instance) ──┐ accept
 *                  ServiceSlot 1 ──▶ InstanceLife ──▶ child: run(instance) ──┼──────▶ ListenSockets
 *                  ...                      ▲                  │             │
 *                                           └── ready, healthy ┘ ────────────┘
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { ClosedError } from "../errors.js";
import { holdingLoop } from "../launch/loop-hold.js";
import { processorCount } from "../system/processor-count.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { isRerun, offerWorker, stopHere } from "../worker/capture.js";
import { nameOf } from "../worker/function-worker.js";
import { countDefinition } from "../worker/locate-worker.js";
import { checkOptionsFor, checkService } from "./check-service.js";
import {
  checkContainerOptions,
  checkMaxUnavailable,
  checkRunOptions,
  checkSpawnOptions,
  type ContainerOptions,
  graceOf,
  keepOf,
  type RunOptions,
  type SpawnOptions,
} from "./container-options.js";
import type { InstanceInfo } from "./instance-info.js";
import { Launches, type MakeLaunch } from "./launches.js";
import { ListenSockets, type SocketAddress } from "./listen-sockets.js";
import { Policy } from "./policy.js";
import { replaceAll } from "./rolling-restart.js";
import type { Service } from "./service.js";
import type { ServiceSlot } from "./service-slot.js";
import { Slots } from "./slots.js";
import type { ContainerStatistics } from "./statistics.js";

/** How long `waitUntilReady` waits in silence. */
const PATIENCE_MS = 10_000;
/** The container whose `define` runs. */
const reloading = new AsyncLocalStorage<Container>();

/**
 * Keeps instances of services alive: numbered, restarted, watched, reloaded.
 *
 * @remarks
 * Instances hold the event loop: the program lives as long as they do, or until `stop`. If it is killed, they and all they have started end too.
 *
 * @example
 * ```ts
 * import http from "node:http";
 * import { Container, type Instance, Service } from "forkmap/container";
 *
 * export class Web extends Service {
 *   async run(instance: Instance): Promise<void> {
 *     const server = http.createServer((_, response) => response.end(`num ${instance.num}\n`));
 *     await instance.serve(server, "http");
 *   }
 * }
 *
 * const container = new Container({ sockets: { http: { host: "127.0.0.1", port: 0 } } });
 * container.run(new Web(), { count: 2, restart: "on-failure" });
 * await container.waitUntilReady();
 * await container.stop();
 * ```
 */
export class Container {
  readonly #sockets: ListenSockets;
  readonly #ownsSockets: boolean;
  readonly #launches: Launches;
  readonly #slots: Slots;
  readonly #isRerun = isRerun();
  /** Keys that `reload` has met. */
  #marked: Set<string> | undefined;
  #reloading: Promise<unknown> = Promise.resolve();
  #isStopping = false;
  #stopped: Promise<void> | undefined;

  /**
   * @param options - see `ContainerOptions`
   * @throws TypeError when an option is wrong
   * @throws Error with the `code` of the system (EADDRINUSE, EACCES) when a socket cannot be opened
   */
  constructor(options: ContainerOptions = {}) {
    const { sockets, makeLaunch, ...rest } = Object(options) as Partial<ContainerParts>;
    const isGiven = sockets instanceof ListenSockets;
    checkContainerOptions(isGiven ? rest : options);
    const { policy = new Policy() } = rest;
    // A program that is run again to find a service must not open its sockets again.
    this.#sockets = isGiven ? sockets : new ListenSockets(sockets ?? {}, this.#isRerun);
    this.#ownsSockets = !isGiven;
    this.#launches = new Launches(rest, this.#sockets, makeLaunch);
    this.#slots = new Slots(this, policy, this.#launches, rest.output === "tag");
  }

  /**
   * Starts an instance of a service, which is kept as the options say.
   *
   * @returns `false` when an instance with the same `key` lives already: it stays as it is, and no other is started
   * @throws TypeError when the service or an option is wrong
   * @throws ClosedError after `stop`
   */
  spawn(service: Service, options: SpawnOptions = {}): boolean {
    checkSpawnOptions(options);
    checkService(service);
    if (this.#offer(service)) return true;
    const { key } = options;
    if (key !== undefined) {
      this.#marked?.add(key);
      if (this.has(key)) return false;
    }
    this.#add(service, options, 1);
    return true;
  }

  /**
   * Starts several instances of a service, with nums one after the other. Returns the container.
   *
   * @throws TypeError when the service or an option is wrong
   * @throws ClosedError after `stop`
   */
  run(service: Service, options: RunOptions = {}): this {
    checkRunOptions(options);
    checkService(service);
    if (this.#offer(service)) return this;
    const { count = processorCount() } = options;
    this.#add(service, options, count);
    return this;
  }

  /**
   * Starts the keyed instances that are wanted now and stops those that are not: `define` calls `spawn` for all that are wanted. Those that
   * live already stay, with their pid; instances without a key stay too.
   *
   * @returns whether anything was started or stopped; resolves once what is not wanted has ended
   */
  async reload(define: (container: this) => void | Promise<void>): Promise<boolean> {
    if (reloading.getStore() === this)
      throw new Error("reload() was called in the `define` of another: it would wait for itself");
    const turn = this.#reloading.then(() => holdingLoop(() => this.#reload(define)));
    this.#reloading = turn.catch(() => {});
    return await turn;
  }

  /**
   * Resolves once all instances are ready, or have ended by exit code 0. Warns if that takes longer than 10 s.
   * @throws InstanceError when an instance has failed and is not restarted
   */
  async waitUntilReady(): Promise<void> {
    if (this.#isRerun) return await stopHere();
    const timer = setTimeout(() => this.#warnOfWait(), PATIENCE_MS).unref();
    try {
      await holdingLoop(() => this.#slots.ready());
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks all instances to stop, for as long as they take, and starts no others. `stop` can follow. */
  interrupt(): void {
    this.#isStopping = true;
    for (const slot of this.#slots) slot.interrupt();
  }

  /**
   * Stops all instances and closes the sockets. Each is asked to stop (its `signal` aborts, and SIGINT goes to its process group), and killed with
   * all that it has started if it has not ended after the grace. A second call may shorten that.
   *
   * @param graceful - the grace in ms; `true`: 10 s, `false`: none
   * @returns once everything has ended
   */
  async stop(graceful: boolean | number = true): Promise<void> {
    const grace = graceOf(graceful);
    if (this.#isRerun) return await stopHere();
    this.#isStopping = true;
    const ended = Promise.all(Array.from(this.#slots, (slot) => slot.stop(grace)));
    this.#stopped ??= this.#close(ended);
    await holdingLoop(() => this.#stopped!);
  }

  /**
   * Replaces the children of all instances one after the other, by ones that load their modules anew. The nums stay. If a new child does not
   * become ready, it is replaced by the old kind again, and the others stay as they are.
   *
   * @param options - `maxUnavailable`: how many instances may be away at once; 1 by default
   * @throws Error what kept the modules from being loaded, or an `Error` that names the instance that did not become ready
   */
  async restart(options: { readonly maxUnavailable?: number } = {}): Promise<void> {
    const { maxUnavailable = 1 } = options;
    checkMaxUnavailable(maxUnavailable);
    if (this.#isStopping) throw new ClosedError("The container has been stopped");
    const replace = (renewed: readonly ServiceSlot[]) =>
      replaceAll(renewed, maxUnavailable, graceOf(true), () => this.#isStopping);
    await holdingLoop(() => this.#launches.renew(this.#slots, replace));
  }

  /** All instances that have not ended, by num. */
  get instances(): readonly InstanceInfo[] {
    return Array.from(this.#slots, (slot) => slot.info()).toSorted(
      (one, other) => one.num - other.num,
    );
  }

  /** How many instances there are. */
  get size(): number {
    return this.#slots.size;
  }

  /** Whether there are any instances. */
  get isRunning(): boolean {
    return this.#slots.size > 0;
  }

  /** Whether it was asked to stop. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  get statistics(): ContainerStatistics {
    return this.#slots.statistics.snapshot();
  }

  /** Whether an instance with this key lives. */
  has(key: string): boolean {
    return this.#slots.wanted().some(({ options }) => options.key === key);
  }

  /**
   * Returns where a socket listens; `undefined` for one that others have opened at an address that is not of TCP.
   *
   * @throws TypeError when there is no such socket
   */
  address(name: string): SocketAddress | undefined {
    return this.#sockets.address(name);
  }

  /** Resolves once no instance is left. */
  async wait(): Promise<void> {
    if (this.#isRerun) return await stopHere();
    await holdingLoop(() => this.#slots.ended());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #offer(service: Service): boolean {
    countDefinition(service.constructor);
    if (this.#isRerun) return offerWorker(service);
    if (this.#isStopping) throw new ClosedError("The container has been stopped");
    return false;
  }

  #add(service: Service, options: SpawnOptions & RunOptions, count: number): void {
    checkOptionsFor(service, options, this.#slots);
    const { name = nameOf(service), key, limits, module, threads, supervised = false } = options;
    const keep = keepOf(options);
    const slot = { service, name, key, keep, limits, threads, module };
    for (let i = 0; i < count; i += 1) this.#slots.add(slot, supervised);
  }

  async #reload(define: (container: this) => void | Promise<void>): Promise<boolean> {
    const before = this.statistics.spawns;
    this.#marked = new Set();
    try {
      await reloading.run(this, () => define(this));
      const unwanted = this.#slots
        .wanted()
        .filter(({ options: { key } }) => key !== undefined && !this.#marked!.has(key));
      await Promise.all(unwanted.map((slot) => slot.stop(graceOf(true))));
      return unwanted.length > 0 || this.statistics.spawns > before;
    } finally {
      this.#marked = undefined;
    }
  }

  async #close(ended: Promise<unknown>): Promise<void> {
    await ended;
    await this.#launches.close();
    if (this.#ownsSockets) this.#sockets.close();
  }

  #warnOfWait(): void {
    const late = this.instances.filter(({ state }) => state !== "ready");
    const names = late.map(({ name, num, state }) => `${name} num ${num} (${state})`);
    process.emitWarning(
      `waitUntilReady() has waited for ${PATIENCE_MS} ms for ${names.join(", ")}: a service calls instance.ready() or instance.serve() when it is ready`,
      { type: "ForkmapWarning", code: "FORKMAP_WAITING" },
    );
  }
}

/** @internal What a controller gives to the containers that it makes, in place of options. */
export interface ContainerParts extends Omit<ContainerOptions, "sockets"> {
  readonly sockets: ListenSockets;
  /** For threads inside an instance, whose service has been found already. */
  readonly makeLaunch?: MakeLaunch;
}
