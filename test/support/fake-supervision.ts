/** A source of the dashboard without processes: instances that a test changes, with values that move as real ones do. */
import { setTimeout as delay } from "node:timers/promises";
import type {
  DashboardSource,
  InstanceState,
  SupervisionEvent,
  SupervisionState,
} from "../../src/supervisor/supervision-state.js";

type Writable<T> = { -readonly [K in keyof T]: T[K] };
export type FakeInstance = Writable<InstanceState> & { startedAt: number };

export class FakeSupervision implements DashboardSource {
  readonly instances: FakeInstance[] = [];
  readonly calls: { operation: string; target: { num?: number; pool?: string } }[] = [];
  /** How many watches run. */
  watches = 0;
  monitors: SupervisionState["monitors"] = [];
  /** Pieces of the next heap snapshots. */
  heap: () => Iterable<string> = () => ['{"snapshot":', "{}}"];
  stacks: unknown = "Error\n    at work (file:///app/web.js:12:3)";
  failure: Error | undefined;
  #news: SupervisionEvent[] = [];
  readonly #recent: SupervisionEvent[] = [];
  #wake = (): void => {};

  add(instance: Partial<InstanceState> & { num: number }, age = 60_000): FakeInstance {
    const added: FakeInstance = {
      name: "web",
      generation: 1,
      pid: 4000 + instance.num,
      state: "ready",
      status: "",
      age,
      restarts: 0,
      failures: 0,
      isSupervised: true,
      memory: 48e6 + 3e6 * Math.sin(instance.num),
      cpu: 0.2,
      startedAt: Date.now() - age,
      ...instance,
    };
    this.instances.push(added);
    return added;
  }

  tell(
    instance: FakeInstance,
    what: SupervisionEvent["what"],
    text: string,
    time = Date.now(),
  ): void {
    const { num, name, pool } = instance;
    const event = { time, num, name, what, text, ...(pool === undefined ? {} : { pool }) };
    this.#recent.push(event);
    this.#news.push(event);
    this.#wake();
  }

  restart(instance: FakeInstance, time = Date.now()): void {
    instance.generation += 1;
    instance.restarts += 1;
    instance.startedAt = time;
    instance.state = "ready";
    this.tell(instance, "replaced", `generation ${instance.generation}`, time);
  }

  state(time = Date.now()): SupervisionState {
    const events = this.#news;
    this.#news = [];
    const instances = this.instances.map(({ startedAt, ...instance }) => ({
      ...instance,
      age: instance.pid === undefined ? 0 : Math.max(0, time - startedAt),
    }));
    return { time, instances, monitors: this.monitors, events };
  }

  async *watch(signal: AbortSignal): AsyncGenerator<SupervisionState> {
    this.watches += 1;
    try {
      yield { ...this.state(), events: [...this.#recent] };
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => (this.#wake = resolve));
        await Promise.race([woken, delay(1000, undefined, { signal }).catch(() => {})]);
        if (this.failure) throw this.failure;
        if (!signal.aborted) yield this.state();
      }
    } finally {
      this.watches -= 1;
    }
  }

  async call(
    operation: { readonly do: string },
    target: { num?: number; pool?: string },
    { onChunk }: { onChunk?(text: string): Promise<void>; signal?: AbortSignal },
  ): Promise<unknown> {
    this.calls.push({ operation: operation.do, target });
    if (this.failure) throw this.failure;
    if (operation.do === "thread_dump") return this.stacks;
    if (operation.do === "memory_dump") {
      for (const piece of this.heap()) await onChunk?.(piece);
      return undefined;
    }
    for (const instance of this.instances) {
      if (target.num === undefined || instance.num === target.num) this.restart(instance);
    }
    return undefined;
  }
}
