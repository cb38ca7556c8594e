/** What a supervisor does in its own process: brings together its server, the children that it knows, its monitors and its metrics. */
import { once } from "node:events";
import type { Instance } from "../container/service.js";
import { Changes } from "../system/changes.js";
import { describe } from "../system/describe.js";
import { monotonic } from "../system/monotonic.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { SupervisorError } from "../errors.js";
import type { Calls, IncomingCall } from "../wire/calls.js";
import type { Replacement } from "../wire/notification.js";
import type { InstanceView } from "../wire/supervision.js";
import type { Supervision } from "../worker/worker-source.js";
import { InstanceMetrics } from "./instance-metrics.js";
import type { Monitor, MonitorContext, SupervisedInstance } from "./monitor.js";
import { MonitorLoop } from "./monitor-loop.js";
import { checkFacts } from "./child-facts.js";
import { Operations, type OperationsHost, type Restart } from "./operations.js";
import { type Child, Registry, type Target } from "./registry.js";
import { Sampler } from "./sampler.js";
import type { InstanceState, SupervisionEvent, SupervisionState } from "./supervision-state.js";
import { loadApi } from "./open-telemetry.js";
import { loadClient } from "./prometheus.js";
import type { MetricsAddress } from "./serve-metrics.js";
import { SupervisorServer, sweep } from "./supervisor-server.js";

/** How often those who watch are told, if nothing happens. */
const WATCH_MS = 1000;
/** A child that is asked to end says at once that it will. */
const REPLACE_MS = 30_000;
/** Those who begin to watch see so many events. */
const KEPT_EVENTS = 200;

/** What the instance of a supervisor can do, beyond that of any service. */
type SupervisorInstance = Instance & {
  readonly supervision: Supervision;
  replace(request: Replacement): void;
  followInstances(listener: (instances: readonly InstanceView[]) => void): void;
};

/** What a `Supervisor` was made with. */
export interface SupervisorPlan {
  readonly files: string | undefined;
  readonly metrics: MetricsAddress | undefined;
}

export class SupervisorProcess implements OperationsHost {
  readonly registry: Registry;
  readonly files: string | undefined;
  readonly #directory: string;
  readonly #metrics: InstanceMetrics;
  readonly #address: MetricsAddress | undefined;
  readonly #instance: SupervisorInstance;
  readonly #sampler: Sampler;
  readonly #operations: Operations;
  readonly #monitors: MonitorLoop;
  readonly #changes = new Changes();
  readonly #events: SupervisionEvent[] = [];
  /** How many events there have been. */
  #told = 0;
  #sampling: Promise<void> | undefined;
  #server: SupervisorServer | undefined;

  constructor(
    { files, metrics }: SupervisorPlan,
    monitors: readonly Monitor[],
    instance: Instance,
  ) {
    this.#instance = instance as SupervisorInstance;
    const { directory, run } = this.#instance.supervision;
    this.files = files;
    this.#directory = directory;
    this.#monitors = new MonitorLoop(monitors, () => this.#context());
    this.#address = metrics;
    this.#sampler = new Sampler(directory);
    this.#operations = new Operations(this);
    this.registry = new Registry(run, {
      onRegister: (child) => this.#monitors.register(child),
      onRemove: (child) => {
        this.#sampler.forget(child);
        this.#monitors.remove(child);
      },
      onEvent: (event) => this.#note(event),
    });
    const isCurrent = () => this.#server?.isCurrent ?? false;
    this.#metrics = new InstanceMetrics(directory, this.registry, this.#sampler, isCurrent);
  }

  async run(): Promise<void> {
    const { signal } = this.#instance;
    this.#instance.followInstances((views) => {
      this.registry.update(views);
      this.#changes.tell();
    });
    // Whoever is let in finds all instances known.
    await this.#until(() => this.registry.view(this.#instance.num) !== undefined, signal);
    const server = await SupervisorServer.open(this.#directory, {
      onCall: (call, calls) => this.#onCall(call, calls),
      onClose: (calls) => this.registry.disconnected(calls),
      onTakenOver: () => {
        this.registry.letOthersGo();
        this.#metrics.lost();
      },
      onReclaimed: () => this.#metrics.reclaimed(),
    });
    this.#server = server;
    await this.#metrics.takeOver();
    sweep(this.#directory);
    await this.#metrics.begin(this.#address);
    this.#monitors.start();
    this.#instance.ready();
    if (!signal.aborted) await once(signal, "abort");
    this.#monitors.stop();
    this.registry.close();
    await Promise.all([server.close(), this.#metrics.close()]);
  }

  /** Everything that is known, now. */
  async state(events: readonly SupervisionEvent[] = this.#events): Promise<SupervisionState> {
    await this.#sample();
    const own = this.registry.views.map((view) => this.#stateOf(view));
    const others = this.registry.children.filter((child) => !this.registry.isOwn(child));
    const instances = [...own, ...others.map((child) => this.#stateOfOther(child))];
    const monitors = this.#monitors.status();
    return {
      time: Date.now(),
      instances,
      monitors,
      metrics: this.#metrics.url,
      events: [...events],
    };
  }

  /** Yields the state now, then every second and after each event, until the signal aborts. */
  async *watch(signal: AbortSignal): AsyncGenerator<SupervisionState> {
    let told = this.#told - this.#events.length;
    while (!signal.aborted) {
      const fresh = this.#told - told;
      told = this.#told;
      yield await this.state(fresh === 0 ? [] : this.#events.slice(-fresh));
      const seen = told;
      const due = monotonic() + WATCH_MS;
      const timer = setTimeout(() => this.#changes.tell(), WATCH_MS);
      await this.#until(() => this.#told > seen || monotonic() >= due - 1, signal);
      clearTimeout(timer);
    }
  }

  metricsText(): Promise<string> {
    return this.#metrics.text();
  }

  /** Replaces instances one after another: those of the own container through that, others by asking them. */
  async restart(target: Target, { reason, grace }: Restart, signal: AbortSignal): Promise<unknown> {
    const isMeant = ({ num }: { readonly num: number }) =>
      target.num === undefined ? num !== this.#instance.num : num === target.num;
    const views = target.pool === undefined ? this.registry.views.filter(isMeant) : [];
    const others = this.registry.find(target).filter((child) => !this.registry.isOwn(child));
    if (views.length === 0 && others.length === 0)
      throw new SupervisorError(this.registry.missing(target), "refused");
    if (views.length === 0 && grace !== undefined)
      throw new TypeError(
        "Expected no `graceful`: it is for instances of the supervisor's own container, and others decide by themselves when they end",
      );
    for (const view of views) this.#noteReplacement(view, reason);
    const nums = views.map(({ num }) => num);
    if (views.length > 0) this.#instance.replace({ nums, reason, grace });
    for (const child of others) this.#replace(child, reason);
    const isReplaced = ({ num, generation }: InstanceView) => {
      const now = this.registry.view(num);
      return !now || (now.generation > generation && now.state === "ready");
    };
    await this.#until(() => views.every(isReplaced), signal);
    return { restarted: views.length + others.length };
  }

  /** Resolves once it holds, or the signal aborts. */
  async #until(isMet: () => boolean, signal: AbortSignal): Promise<void> {
    const look = () => this.#changes.tell();
    signal.addEventListener("abort", look);
    await this.#changes.until(() => isMet() || signal.aborted);
    signal.removeEventListener("abort", look);
  }

  async #onCall(call: IncomingCall, calls: Calls): Promise<unknown> {
    const { message } = call;
    switch (message.do) {
      case "hello":
        return { pid: process.pid };
      case "register":
        return await this.registry.introduce(checkFacts(message["child"]), calls);
      case "interrupts":
        this.registry.interruptible(message["run"], message["num"], calls.detach());
        return undefined;
      default:
        return await this.#operations.run(call);
    }
  }

  #context(): MonitorContext {
    return {
      instances: this.registry.children,
      programPid: process.ppid,
      replace: (instance, reason) => {
        if (typeof reason !== "string")
          throw new TypeError(`Expected the reason to be a string, got ${describe(reason)}`);
        this.#replace(instance as Child, reason);
      },
      metricsOf: (instance: SupervisedInstance) =>
        new Map(this.#sampler.metricsOf(instance as Child).map(({ name, value }) => [name, value])),
    };
  }

  #replace(child: Child, reason: string): void {
    if (child.replacement !== undefined) return;
    child.replacement = reason;
    this.#noteReplacement(child, reason);
    if (this.registry.isOwn(child)) this.#instance.replace({ nums: [child.num], reason });
    else void this.#askToEnd(child, reason);
  }

  async #askToEnd(child: Child, reason: string): Promise<void> {
    try {
      await child.calls?.call({ do: "replace", reason }, { timeout: REPLACE_MS });
    } catch {
      // Its connection was lost, or its loop is blocked: a monitor may ask again.
      child.replacement = undefined;
    }
  }

  #noteReplacement(
    {
      num,
      name,
      pool,
    }: { readonly num: number; readonly name: string; readonly pool?: string | undefined },
    reason: string,
  ): void {
    const place = pool === undefined ? { num, name } : { num, name, pool };
    this.#note({ time: Date.now(), ...place, what: "replaced", text: reason });
  }

  #note(event: SupervisionEvent): void {
    this.#told += 1;
    this.#events.push(event);
    if (this.#events.length > KEPT_EVENTS) this.#events.shift();
    this.#changes.tell();
  }

  /** Once for all who look at the same time. */
  #sample(): Promise<void> {
    this.#sampling ??= this.#sampler
      .look(this.registry.children)
      .finally(() => (this.#sampling = undefined));
    return this.#sampling;
  }

  #stateOf(view: InstanceView): InstanceState {
    const child = this.registry.childOf(view);
    const { num, name, generation, pid, state, status, restarts, failures, lastEnd } = view;
    return {
      num,
      name,
      generation,
      state,
      status,
      restarts,
      failures,
      ...(pid === undefined ? {} : { pid }),
      ...(lastEnd === undefined ? {} : { lastEnd }),
      age: view.startedAt === undefined ? 0 : monotonic() - view.startedAt,
      isSupervised: child?.calls !== undefined,
      ...(num === this.#instance.num ? { isSupervisor: true } : {}),
      ...(child ? this.#sampler.measured(child) : {}),
    };
  }

  #stateOfOther(child: Child): InstanceState {
    const { num, name, pool, generation, pid, age } = child;
    return {
      num,
      name,
      generation,
      pid,
      age,
      ...(pool === undefined ? {} : { pool }),
      state: "ready",
      status: "",
      restarts: generation - 1,
      failures: 0,
      isSupervised: true,
      ...this.#sampler.measured(child),
    };
  }
}

/** Loads what a supervisor with this plan will load, as far as it is installed: it needs less time and memory of its own then. */
export async function prepare({ metrics }: SupervisorPlan): Promise<void> {
  await Promise.all([loadApi(), metrics && loadClient().catch(() => {})]);
}
