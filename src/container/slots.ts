/** The slots of a container: gives them their nums, counts and tells what becomes of them, and forgets them when they have ended. */
import { LoopHold } from "../launch/loop-hold.js";
import { type ChildMessage, children } from "../observe/diagnostics.js";
import { Changes } from "../system/changes.js";
import { monotonic } from "../system/monotonic.js";
import type { Container } from "./container.js";
import { type InstanceEnd, InstanceError, type InstanceInfo, isLoss } from "./instance-info.js";
import type { Launches } from "./launches.js";
import { Nums } from "./nums.js";
import type { Policy } from "./policy.js";
import { runHook } from "./run-hook.js";
import { ServiceSlot, type SlotHost, type SlotOptions } from "./service-slot.js";
import { Statistics } from "./statistics.js";

export class Slots {
  readonly statistics = new Statistics();
  readonly #container: Container;
  readonly #policy: Policy;
  readonly #launches: Launches;
  readonly #host: SlotHost;
  readonly #slots = new Set<ServiceSlot>();
  readonly #nums = new Nums();
  readonly #changes = new Changes();
  /** The program lives as long as its instances. */
  readonly #hold = new LoopHold();
  /** The last instance that failed for good, until somebody is told of it. */
  #failure: readonly [InstanceInfo, InstanceEnd] | undefined;
  #readying: Promise<void> | undefined;

  constructor(container: Container, policy: Policy, launches: Launches, isTagged: boolean) {
    this.#container = container;
    this.#policy = policy;
    this.#launches = launches;
    this.#host = this.#makeHost(isTagged);
  }

  get size(): number {
    return this.#slots.size;
  }

  *[Symbol.iterator](): Iterator<ServiceSlot> {
    yield* this.#slots;
  }

  add(options: SlotOptions): void {
    const slot = new ServiceSlot(this.#nums.take(), options, this.#host);
    this.#slots.add(slot);
    this.#hold.take();
    slot.begin();
  }

  /** Returns the slots that go on, so without those that were stopped. */
  wanted(): ServiceSlot[] {
    return [...this.#slots].filter((slot) => slot.isWanted);
  }

  /** Resolves once all slots are ready or have ended. @throws InstanceError when one has failed for good */
  async ready(): Promise<void> {
    // All who wait are told of a failure, and nobody who asks later.
    this.#readying ??= this.#untilReady().finally(() => (this.#readying = undefined));
    await this.#readying;
  }

  async #untilReady(): Promise<void> {
    const isReady = () => Array.from(this.#slots).every(({ state }) => state === "ready");
    await this.#changes.until(() => this.#failure !== undefined || isReady());
    const failure = this.#failure;
    this.#failure = undefined;
    // Made here, where its stack leads to who waits.
    if (failure) throw new InstanceError(...failure);
  }

  /** Resolves once no slot is left. */
  async ended(): Promise<void> {
    await this.#changes.until(() => this.#slots.size === 0);
  }

  #makeHost(isTagged: boolean): SlotHost {
    const container = this.#container;
    const policy = this.#policy;
    return {
      isTagged,
      launchFor: (slot) => this.#launches.of(slot.options),
      onSpawned: (_, isRestart) => {
        this.statistics.spawned(isRestart);
        this.#changes.tell();
      },
      onStarted: (slot) => {
        this.#launches.started(slot.options);
        runHook("spawned", () => policy.spawned(container, slot.info()));
      },
      onReady: (slot) => {
        runHook("ready", () => policy.ready(container, slot.info()));
        this.#changes.tell();
      },
      onStartFailed: (slot, clock) =>
        runHook("startFailed", () => policy.startFailed(container, slot.info(), clock)),
      onHealthCheckFailed: (slot, clock) =>
        runHook("healthCheckFailed", () => policy.healthCheckFailed(container, slot.info(), clock)),
      onExited: (_, info, end) => this.#onExited(info, end),
      onFinished: (slot) => this.#onFinished(slot),
      hasRun: (slot) => this.#launches.hasRun(slot.options),
    };
  }

  #onExited(info: InstanceInfo, end: InstanceEnd): void {
    if (end.isFailure) this.statistics.failed();
    if (isLoss(end)) this.#failure = [info, end];
    tellDiagnostics(info, end);
    runHook("exited", () => this.#policy.exited(this.#container, info, end));
    this.#launches.sweep(this.#slots);
    this.#changes.tell();
  }

  #onFinished(slot: ServiceSlot): void {
    this.#slots.delete(slot);
    this.#nums.give(slot.num);
    if (this.#slots.size === 0) this.#hold.release();
    const { service } = slot.options;
    const isLast = !Array.from(this.#slots).some(({ options }) => options.service === service);
    if (isLast) this.#launches.drop(slot.options);
    this.#changes.tell();
  }
}

/** An instance is a child as any other to who observes this library. */
function tellDiagnostics(
  { num, generation, pid, name }: InstanceInfo,
  { age, how }: InstanceEnd,
): void {
  if (!children.hasSubscribers) return;
  const end = monotonic();
  const life = { num, generation, pid, start: end - age, end, how };
  children.publish({ worker: name, ...life } satisfies ChildMessage);
}
