/**
 * The folder holds the supervisor of instances and what talks to it. Here: the service that a container runs, and its options. What it does is in
 * supervisor-process.ts, which only its own process loads.
 *
 *   instances ──register──▶ SupervisorServer ──▶ Registry ──▶ MonitorLoop: memory, processes, utilization ──replace──┐
 *   clients ────call──────▶        │                 ▲                                                              │
 *                                  └──▶ Operations   └── what becomes of instances ── container ◀───────────────────┘
 */
import os from "node:os";
import path from "node:path";
import { type Instance, Service } from "../container/service.js";
import { check, path as pathRule, type Rule, wholeNumber } from "../option-rules.js";
import { describe } from "../system/describe.js";
import { ownedName } from "../system/owner.js";
import type { WorkerSource } from "../worker/worker-source.js";
import type { Monitor } from "./monitor.js";
import { locateMonitors, makeMonitors } from "./monitor-sources.js";
import { makePrivate } from "./private-directory.js";
import type { MetricsAddress } from "./serve-metrics.js";
import { OWN_MODULE } from "../worker/locate-worker.js";

/** Options of `new Supervisor(options)`. */
export interface SupervisorOptions {
  /** What watches the instances. @defaultValue none */
  readonly monitors?: readonly Monitor[] | undefined;
  /**
   * Directory for the socket and the token, which only this user may enter; made if it is not there. Who knows it can call the supervisor. At most one
   * supervisor at a time uses it.
   * @defaultValue one in the temporary directory, which is removed with the container
   */
  readonly directory?: string | undefined;
  /** Directory below which diagnostics are written, if a call names a file. @defaultValue none: they are part of the answer only */
  readonly files?: string | undefined;
  /** Where metrics are served, as Prometheus reads them, at `/metrics`. Needs the optional dependency prom-client. @defaultValue nowhere */
  readonly metrics?: MetricsAddress | undefined;
}

/**
 * A service that watches the other instances of its container: it runs monitors, replaces what is unhealthy, and brings diagnostics and metrics out of
 * running instances. It has a process of its own, which the container restarts; instances go on without it, and introduce themselves again.
 *
 * @example
 * ```ts
 * import { setTimeout as sleep } from "node:timers/promises";
 * import { Container, type Instance, Service } from "forkmap/container";
 * import { MemoryMonitor, Supervisor, SupervisorClient } from "forkmap/supervisor";
 *
 * export class Crawler extends Service {
 *   async run(instance: Instance): Promise<void> {
 *     instance.ready();
 *     while (!instance.signal.aborted) await sleep(100, undefined, { signal: instance.signal }).catch(() => {});
 *   }
 * }
 *
 * const container = new Container();
 * const supervisor = new Supervisor({ monitors: [new MemoryMonitor({ limit: 500 * 2 ** 20 })] });
 * container.spawn(supervisor, { name: "supervisor", restart: "always" });
 * container.run(new Crawler(), { count: 2, restart: "always", supervised: true });
 * await container.waitUntilReady();
 *
 * const client = await SupervisorClient.connect(supervisor.directory);
 * const dumps = await client.call({ do: "scheduler_dump" });
 * console.log(dumps.map(({ name, num }) => `${name} ${num}`).join(", ")); // Crawler 1, Crawler 2
 * await client.close();
 * await container.stop();
 * ```
 */
export class Supervisor extends Service {
  /** @internal */
  static readonly [OWN_MODULE]: string = import.meta.url;
  /** @internal Read by name, not by `instanceof`: two copies of this package may meet in one process. */
  static readonly isSupervisor = true;
  /** What `SupervisorClient.connect` is given. */
  readonly directory: string;
  /** @internal Whether it is removed with the container. */
  readonly ownsDirectory: boolean;
  /** @internal */
  readonly files: string | undefined;
  /** @internal */
  readonly metrics: MetricsAddress | undefined;
  /** @internal How its process finds the monitors: they are made again there, as a service is. */
  readonly monitors: readonly WorkerSource[];

  /** @throws TypeError when an option is wrong */
  constructor(options: SupervisorOptions = {}) {
    super();
    checkSupervisorOptions(options);
    const { directory, files, metrics, monitors = [] } = options;
    this.ownsDirectory = directory === undefined;
    this.directory = path.resolve(directory ?? path.join(os.tmpdir(), ownedName()));
    this.files = files === undefined ? undefined : path.resolve(files);
    this.metrics =
      metrics && ("path" in metrics ? { path: path.resolve(metrics.path) } : { ...metrics });
    this.monitors = locateMonitors(monitors);
  }

  /** @internal Made by `preload`. */
  made: readonly Monitor[] | undefined;

  /**
   * Makes the monitors and the directory: what is wrong with them is told before any instance begins. Loads what `run` needs, which is some 100 ms of
   * work: a forked supervisor that takes the place of another has it from the fork server.
   */
  override async preload(): Promise<void> {
    makePrivate(this.directory);
    this.made = await makeMonitors(this.monitors);
    const { prepare } = await import("./supervisor-process.js");
    await prepare(this);
  }

  /** Watches until it is asked to stop. */
  override async run(instance: Instance): Promise<void> {
    const { SupervisorProcess } = await import("./supervisor-process.js");
    await new SupervisorProcess(this, this.made!, instance).run();
  }
}

const MONITORS: Rule = {
  expected: "an array of instances of Monitor",
  accepts: (value) => Array.isArray(value) && value.every(isMonitor),
};

function isMonitor(value: unknown): boolean {
  if (typeof (value as Partial<Monitor> | null)?.run !== "function") return false;
  // Another process needs its class.
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype !== null && prototype !== Object.prototype;
}

const METRICS_RULES: Readonly<Record<string, Rule>> = {
  port: wholeNumber(0, 65_535),
  host: {
    expected: "a name or an address",
    accepts: (value) => !!value && typeof value === "string",
  },
  path: pathRule,
};

function checkSupervisorOptions(options: SupervisorOptions): void {
  const rules = {
    monitors: MONITORS,
    directory: pathRule,
    files: pathRule,
    metrics: METRICS_RULES,
  };
  check(options, rules, "", (name) => `Unknown option \`${name}\` of Supervisor`);
  const { metrics } = options;
  if (metrics === undefined) return;
  if ("port" in metrics !== "path" in metrics) return;
  throw new TypeError(
    `Expected \`metrics\` to have either a \`port\` or a \`path\`, got ${describe(Object.keys(metrics).join(", "))}`,
  );
}
