/**
 * Chooses how the children of a `Parallel` are started: forked where possible, else spawned, with the reason. The
 * choice is made once, when first needed, and again after a failure.
 */
import path from "node:path";
import { ClosedError, LaunchError, UnfitError } from "../errors.js";
import {
  DEFAULT_CLOSE_TIMEOUT_MS,
  DEFAULT_STARTUP_TIMEOUT_MS,
  type ParallelOptions,
} from "../options.js";
import { monotonicNanoseconds } from "../system/monotonic.js";
import { assertAllowed } from "../system/permission.js";
import { nameOf } from "../worker/function-worker.js";
import { locateWorker } from "../worker/locate-worker.js";
import { markOver } from "../wire/run-over.js";
import type { Supervision, WorkerSource } from "../worker/worker-source.js";
import { entryFile } from "./entry-file.js";
import { forkObstacle } from "./fork/fork-obstacle.js";
import type { LaunchChoice, Launcher, ServiceOptions } from "./launcher.js";
import { expectSupervisor } from "./missing-supervisor.js";
import { assertRuns } from "./runtime.js";
import type { SpawnLauncher } from "./spawn/spawn-launcher.js";
import type { ChildSettings } from "./warm-node.js";

type LaunchOptions = Pick<
  ParallelOptions,
  | "startMethod"
  | "module"
  | "execArgv"
  | "env"
  | "cwd"
  | "startupTimeout"
  | "closeTimeout"
  | "threads"
  | "supervised"
  | "output"
  | "serialization"
> &
  ServiceOptions;

export class ProcessChoice implements LaunchChoice {
  readonly #worker: object;
  readonly #options: LaunchOptions;
  #ready: Promise<Launcher> | undefined;
  #current: Launcher | undefined;
  #reason: string | undefined;
  #closed = false;
  /** Of a pool, whose children belong to nobody else. */
  #supervised: Supervision | undefined;
  #stopExpecting: (() => void) | undefined;

  constructor(worker: object, options: LaunchOptions) {
    this.#worker = worker;
    this.#options = options;
  }

  get current(): Launcher | undefined {
    return this.#current;
  }

  /** Why fork is unavailable; undefined if it is available, or if `startMethod: "spawn"` was requested. */
  get reason(): string | undefined {
    return this.#reason;
  }

  ready(): Promise<Launcher> {
    if (!this.#ready) {
      this.#ready = this.#choose();
      this.#ready.catch(() => (this.#ready = undefined));
    }
    return this.#ready;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopExpecting?.();
    await this.#current?.close();
    await this.#ready?.catch(() => {});
    if (this.#supervised) markOver(this.#supervised.directory, this.#supervised.run);
  }

  async #choose(): Promise<Launcher> {
    entryFile("spawned-child");
    const { startMethod, module, serialization, isService } = this.#options;
    const supervision = this.#supervision();
    assertRuns("process", module);
    assertAllowed("child", "starting processes");
    const settings = this.#settings();
    const locate = () =>
      locateWorker(this.#worker, module, settings.execArgv, serialization, isService, supervision);
    // Launchers are imported when needed: the fork server and spawned children, which import this package with the
    // worker's module, do not use them.
    const { startLibuvThreads } = await import("./libuv-threads.js");
    await startLibuvThreads();
    if (this.#closed) throw new ClosedError();
    if (startMethod !== "spawn") {
      const { ForkLauncher } = await import("./fork/fork-launcher.js");
      if (this.#closed) throw new ClosedError();
      const spawnInstead = ({ message }: UnfitError) => this.#takeOver(message, locate, settings);
      const fork = await this.#withThreads(
        new ForkLauncher(locate, settings, spawnInstead),
        settings,
      );
      this.#reason = forkObstacle(settings.execArgv) ?? (await this.#obstacleFoundBy(fork));
      if (this.#reason === undefined) return fork;
      this.#assertMaySpawn(this.#reason);
    }
    return await this.#spawnBy(await this.#spawnLauncher(locate, settings), settings);
  }

  /** Spawns from now on, also for calls under way: a fork server that was started again can no longer fork children. */
  async #takeOver(
    reason: string,
    locate: () => WorkerSource,
    settings: ChildSettings,
  ): Promise<SpawnLauncher> {
    this.#assertMaySpawn(reason);
    const launcher = await this.#spawnLauncher(locate, settings);
    this.#reason = reason;
    this.#ready = this.#spawnBy(launcher, settings);
    await this.#ready;
    return launcher;
  }

  #assertMaySpawn(reason: string): void {
    if (this.#options.startMethod === "fork")
      throw new LaunchError(`Children cannot be forked here: ${reason}`);
    if (process.platform === "linux") warnOfSpawn(reason);
  }

  async #spawnLauncher(
    locate: () => WorkerSource,
    settings: ChildSettings,
  ): Promise<SpawnLauncher> {
    const { SpawnLauncher } = await import("./spawn/spawn-launcher.js");
    if (this.#closed) throw new ClosedError();
    return new SpawnLauncher(locate, settings);
  }

  async #spawnBy(launcher: SpawnLauncher, settings: ChildSettings): Promise<Launcher> {
    const spawn = await this.#withThreads(launcher, settings);
    this.#current = spawn;
    await spawn.ready();
    return spawn;
  }

  /** Returns why children cannot be forked, or `undefined` if they can. */
  async #obstacleFoundBy(fork: Launcher): Promise<string | undefined> {
    this.#current = fork;
    try {
      await fork.ready();
      return undefined;
    } catch (error) {
      if (error instanceof UnfitError) return error.message;
      throw error;
    }
  }

  async #withThreads(launcher: Launcher, { startupTimeout }: ChildSettings): Promise<Launcher> {
    const { threads } = this.#options;
    if (threads === undefined) return launcher;
    const { HybridLauncher } = await import("./thread/hybrid-launcher.js");
    return new HybridLauncher(launcher, threads, startupTimeout);
  }

  #supervision(): Supervision | undefined {
    const { supervised, supervision } = this.#options;
    if (supervised === undefined) return supervision;
    const run = `${process.pid}-${monotonicNanoseconds()}`;
    const directory = path.resolve(supervised);
    this.#stopExpecting?.();
    this.#stopExpecting = expectSupervisor(directory);
    this.#supervised = { directory, run, pool: nameOf(this.#worker) };
    return this.#supervised;
  }

  #settings(): ChildSettings {
    const { execArgv, env, cwd, startupTimeout, closeTimeout } = this.#options;
    const { output = "inherit", sockets = [] } = this.#options;
    return {
      execArgv: execArgv ?? process.execArgv,
      env: { ...(env ?? process.env) },
      cwd,
      startupTimeout: startupTimeout ?? DEFAULT_STARTUP_TIMEOUT_MS,
      closeTimeout: closeTimeout ?? DEFAULT_CLOSE_TIMEOUT_MS,
      readsOutput: output !== "inherit",
      sockets,
    };
  }
}

const warned = new Set<string>();

/** Warns once per reason: a spawned child takes some twenty times as long to start. */
function warnOfSpawn(reason: string): void {
  if (warned.has(reason)) return;
  warned.add(reason);
  process.emitWarning(`Children are spawned, not forked: ${reason}`, {
    type: "ForkmapWarning",
    code: "FORKMAP_SPAWN",
    detail: 'Set `startMethod: "spawn"` if that is what you want.',
  });
}
