/** The slots of a container: gives them their nums, counts and tells what becomes of them, and forgets them when they have ended. */
import path from "node:path";
import { LoopHold } from "../launch/loop-hold.js";
import { expectSupervisor } from "../launch/missing-supervisor.js";
import { type ChildMessage, children } from "../observe/diagnostics.js";
import { Changes } from "../system/changes.js";
import { monotonic, monotonicNanoseconds } from "../system/monotonic.js";
import { markOver } from "../wire/run-over.js";
import type { Container } from "./container.js";
import { type InstanceEnd, InstanceError, type InstanceInfo, isLoss } from "./instance-info.js";
import type { Launches } from "./launches.js";
import { Nums } from "./nums.js";
import type { Policy } from "./policy.js";
import type { Service } from "./service.js";
import { runHook } from "./run-hook.js";
import { graceOf } from "./container-options.js";
import { Replacements } from "./replacements.js";
import { SupervisorFeed, supervisorOf } from "./supervisor-feed.js";
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
  readonly #replacements: Replacements;
  readonly #changes = new Changes();
  /** The program lives as long as its instances. */
  readonly #hold = new LoopHold();
  /** Tells its instances apart from those of other containers, and from those before it was last empty. */
  #run = newRun();
  /** Where supervisors find what its instances have counted; and what ends the wait for one there. */
  readonly #directories = new Map<string, (() => void) | undefined>();
  readonly #feed = new SupervisorFeed(this.#slots);
  /** The last instance that failed for good, until somebody is told of it. */
  #failure: readonly [InstanceInfo, InstanceEnd] | undefined;
  #readying: Promise<void> | undefined;

  constructor(container: Container, policy: Policy, launches: Launches, isTagged: boolean) {
    this.#container = container;
    this.#policy = policy;
    this.#launches = launches;
    this.#replacements = new Replacements(() => container.isStopping);
    this.#host = this.#makeHost(isTagged);
  }

  get size(): number {
    return this.#slots.size;
  }

  *[Symbol.iterator](): Iterator<ServiceSlot> {
    yield* this.#slots;
  }

  /**
   * @param supervised - the option
   * @throws TypeError when there is no supervisor for it
   */
  add(
    given: Omit<SlotOptions, "supervision" | "isSupervised">,
    supervised: boolean | string,
  ): void {
    const options = { ...given, ...this.#supervise(given.service, supervised) };
    const slot = new ServiceSlot(this.#nums.take(), options, this.#host);
    this.#slots.add(slot);
    this.#feed.added(slot);
    this.#hold.take();
    slot.begin();
  }

  /** Returns what the instances of a service need to be known to a supervisor: the last that was added, or that of a directory. */
  #supervise(
    service: Service,
    supervised: boolean | string,
  ): Pick<SlotOptions, "supervision" | "isSupervised"> {
    const own = supervisorOf(service)?.directory;
    if (own === undefined && supervised === false)
      return { supervision: undefined, isSupervised: false };
    if (this.#launches.areThreads) {
      const what = own === undefined ? "`supervised`" : "A supervisor";
      throw new TypeError(
        `${what} needs instances that are processes, and \`startMethod\` is "thread"`,
      );
    }
    const given = typeof supervised === "string" ? path.resolve(supervised) : undefined;
    const directory = own ?? given ?? this.#feed.directory;
    if (directory === undefined) {
      throw new TypeError(
        "`supervised: true` needs a supervisor in this container: call container.spawn(new Supervisor()) before, or name the directory of one",
      );
    }
    if (!this.#directories.has(directory)) {
      const end = directory === given ? expectSupervisor(directory) : undefined;
      this.#directories.set(directory, end);
    }
    const supervision = { directory, run: this.#run, pool: undefined };
    return { supervision, isSupervised: own === undefined };
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
    this.#feed.tell();
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
      onChanged: (slot) => this.#feed.changed(slot),
      launchFor: (slot) => this.#launches.of(slot.options),
      onSpawned: (_, isRestart) => {
        this.statistics.spawned(isRestart);
        this.#changes.tell();
      },
      onStarted: (slot) => {
        this.#launches.started(slot.options);
        this.#feed.started(slot);
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
      onReplace: (slot, { nums = [slot.num], reason, grace = graceOf(true) }) => {
        const isAllowed = nums.length === 1 && nums[0] === slot.num;
        if (isAllowed || this.#feed.isSupervisor(slot)) this.#replace(nums, reason, grace);
      },
      onExited: (_, info, end) => this.#onExited(info, end),
      onFinished: (slot) => this.#onFinished(slot),
      hasRun: (slot) => this.#launches.hasRun(slot.options),
    };
  }

  #replace(nums: readonly number[], reason: string, grace: number): void {
    const meant = this.wanted().filter(({ num }) => nums.includes(num));
    for (const slot of this.#replacements.request(meant, grace))
      runHook("replacing", () => this.#policy.replacing(this.#container, slot.info(), reason));
  }

  #onExited(info: InstanceInfo, end: InstanceEnd): void {
    if (end.isFailure) this.statistics.failed();
    if (isLoss(end)) this.#failure = [info, end];
    tellDiagnostics(info, end);
    runHook("exited", () => this.#policy.exited(this.#container, info, end));
    this.#launches.sweep(this.#slots);
    this.#changes.tell();
  }

  /** Stops the supervisors if nobody else is left: the program ends as it would without them. */
  #endSupervisors(): void {
    const left = [...this.#slots];
    if (!left.every(({ options }) => supervisorOf(options.service))) return;
    for (const slot of left) void slot.stop(graceOf(true));
  }

  #endRun(): void {
    for (const [directory, end] of this.#directories) {
      end?.();
      markOver(directory, this.#run);
    }
    this.#directories.clear();
    this.#run = newRun();
  }

  #onFinished(slot: ServiceSlot): void {
    this.#slots.delete(slot);
    this.#feed.ended(slot);
    this.#nums.give(slot.num);
    if (this.#slots.size === 0) {
      this.#hold.release();
      this.#endRun();
      this.#feed.close();
    } else if (!supervisorOf(slot.options.service)) this.#endSupervisors();
    const { service } = slot.options;
    const isLast = !Array.from(this.#slots).some(({ options }) => options.service === service);
    if (isLast) this.#launches.drop(slot.options);
    this.#changes.tell();
  }
}

function newRun(): string {
  return `${process.pid}-${monotonicNanoseconds()}`;
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
