/**
 * A slot of a container: a place where one child of a service lives at a time. It starts a child, and another when that has ended, as
 * its options say; its num outlives all of them. What happens within one life is in instance-life.ts.
 *
 *   starting ──▶ ready ──▶ (ended) ──restart──▶ waiting ──▶ starting
 *      └────────────┴── stopping ──▶ ended        └── stop ──▶ ended
 */
import type { Supervision } from "../worker/worker-source.js";
import type { Service } from "./service.js";
import { backoffAfter } from "../system/backoff.js";
import { Changes } from "../system/changes.js";
import { monotonic } from "../system/monotonic.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import type { Limits } from "../options.js";
import type { Keep } from "./container-options.js";
import { InstanceLife, type LifeEnd } from "./instance-life.js";
import type { InstanceEnd, InstanceInfo, InstanceState } from "./instance-info.js";
import type { ClockInfo } from "./policy.js";
import type { Replacement, ToInstance } from "../wire/notification.js";
import type { InstanceView } from "../wire/supervision.js";
import type { ServiceLaunch } from "./service-launch.js";

/** Characters of a status that supervisors are told: those of all instances travel in one message. */
const MAX_STATUS = 1000;

/** What a slot is for. */
export interface SlotOptions {
  readonly service: Service;
  readonly name: string;
  readonly key: string | undefined;
  readonly keep: Keep;
  readonly limits: Limits | undefined;
  readonly threads: number | undefined;
  readonly module: string | URL | undefined;
  /** Given if a supervisor is to know it, and to a supervisor itself. */
  readonly supervision: Supervision | undefined;
  readonly isSupervised: boolean;
}

/** What a slot needs of its container. */
export interface SlotHost {
  readonly isTagged: boolean;
  /** Returns what starts the next child. */
  launchFor(slot: ServiceSlot): ServiceLaunch;
  /** Anything that `view` shows. */
  onChanged(slot: ServiceSlot): void;
  onSpawned(slot: ServiceSlot, isRestart: boolean): void;
  onStarted(slot: ServiceSlot): void;
  onReady(slot: ServiceSlot): void;
  onStartFailed(slot: ServiceSlot, clock: ClockInfo): void;
  onHealthCheckFailed(slot: ServiceSlot, clock: ClockInfo): void;
  /** The child asks that it, or others, be replaced. */
  onReplace(slot: ServiceSlot, request: Replacement): void;
  /** The child has ended. */
  onExited(slot: ServiceSlot, info: InstanceInfo, end: InstanceEnd): void;
  /** The slot has ended. */
  onFinished(slot: ServiceSlot): void;
  /** Whether a child of this slot's service has ever run. */
  hasRun(slot: ServiceSlot): boolean;
}

export class ServiceSlot {
  readonly num: number;
  readonly options: SlotOptions;
  readonly #host: SlotHost;
  #state: InstanceState = "starting";
  #generation = 0;
  #restarts = 0;
  #failures = 0;
  #lastEnd: string | undefined;
  #life: InstanceLife | undefined;
  #launch: ServiceLaunch | undefined;
  /** The status of the last child. */
  #status = "";
  #timer: NodeJS.Timeout | undefined;
  /** Restarts one after the other without a long life between them. */
  #attempts = 0;
  /** Times of the latest restarts, for `intensity`. */
  readonly #restartedAt: number[] = [];
  /** The child is being replaced: the next one starts at once, and it is not the fault of the service. */
  #isReplacing = false;
  /** The child has replaced one that was well: if it fails before it is ready, another is started whatever the options say. */
  #isTrial = false;
  #isWanted = true;
  readonly #changes = new Changes();

  constructor(num: number, options: SlotOptions, host: SlotHost) {
    this.num = num;
    this.options = options;
    this.#host = host;
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** What started its child, or starts the next one. */
  get launch(): ServiceLaunch | undefined {
    return this.#launch;
  }

  /** Whether it is to go on: no `stop` was asked for. */
  get isWanted(): boolean {
    return this.#isWanted && this.#state !== "ended";
  }

  info(): InstanceInfo {
    const life = this.#life;
    return {
      num: this.num,
      generation: this.#generation,
      kind: this.#launch?.kind,
      name: this.options.name,
      key: this.options.key,
      pid: life?.pid,
      state: this.#state,
      status: life?.status ?? this.#status,
      age: life?.age ?? 0,
      restarts: this.#restarts,
    };
  }

  /** What supervisors are told. */
  view(): InstanceView {
    const { key: _, age, status, ...info } = this.info();
    const startedAt = this.#life ? monotonic() - age : undefined;
    const { isSupervised } = this.options;
    return {
      ...info,
      status: status.slice(0, MAX_STATUS),
      startedAt,
      failures: this.#failures,
      lastEnd: this.#lastEnd,
      isSupervised,
    };
  }

  /** Sends a message to its child, if there is one. */
  send(message: ToInstance): void {
    this.#life?.send(message);
  }

  /** Starts the first child. */
  begin(): void {
    this.#spawn(false);
  }

  /** Asks for the end of the slot: its child is killed after `grace` ms, and no other is started. */
  stop(grace: number): Promise<void> {
    this.#isWanted = false;
    this.#endChild((life) => life.stop(grace));
    return this.#changes.until(() => this.#state === "ended");
  }

  /** As `stop`, but kills nothing. */
  interrupt(): void {
    this.#isWanted = false;
    this.#endChild((life) => life.interrupt());
  }

  /** Stops the child and starts another; resolves with whether that became ready. */
  async replace(grace: number): Promise<boolean> {
    const before = this.#generation;
    this.#isReplacing = true;
    if (this.#state === "waiting") {
      clearTimeout(this.#timer);
      this.#spawn(true);
    } else {
      this.#endChild((life) => life.stop(grace));
    }
    await this.#changes.until(() => this.#generation > before || this.#state === "ended");
    const next = this.#generation;
    await this.#changes.until(() => this.#state !== "starting" || this.#generation !== next);
    return this.#generation === next && this.#state === "ready";
  }

  /** A child that is being replaced has no longer than this to end; or the one that has taken its place, if that does not become ready. */
  hurry(grace: number): void {
    if (this.#state === "stopping") this.#life!.stop(grace);
    else if (this.#isTrial && this.#state === "starting") void this.replace(grace);
  }

  #endChild(end: (life: InstanceLife) => void): void {
    if (this.#state === "ended") return;
    if (this.#state === "waiting") {
      clearTimeout(this.#timer);
      this.#finish();
      return;
    }
    this.#state = "stopping";
    end(this.#life!);
    this.#tell();
  }

  #spawn(isRestart: boolean): void {
    this.#isTrial = this.#isReplacing;
    this.#isReplacing = false;
    this.#generation += 1;
    if (isRestart) this.#restarts += 1;
    this.#state = "starting";
    const { name, keep, limits, threads } = this.options;
    const { healthCheckTimeout } = keep;
    this.#launch = this.#host.launchFor(this);
    const start = {
      num: this.num,
      generation: this.#generation,
      name,
      healthCheckTimeout,
      limits,
      threads: threads === undefined ? undefined : { count: threads, keep },
    };
    this.#life = new InstanceLife(this.#launch, start, keep, this.#host.isTagged, {
      onStarted: () => {
        this.#host.onStarted(this);
        this.#host.onChanged(this);
      },
      onStatus: () => this.#host.onChanged(this),
      onReplace: (request) => this.#host.onReplace(this, request),
      onReady: () => {
        this.#state = "ready";
        this.#isTrial = false;
        this.#host.onReady(this);
        this.#tell();
      },
      onStartFailed: (clock) => this.#host.onStartFailed(this, clock),
      onHealthCheckFailed: (clock) => this.#host.onHealthCheckFailed(this, clock),
      onEnd: (end) => this.#onEnd(end),
    });
    this.#host.onSpawned(this, isRestart);
    this.#tell();
  }

  #onEnd(end: LifeEnd): void {
    const last = this.info();
    const { isFatal: _, ...facts } = end;
    this.#status = this.#life!.status;
    this.#lastEnd = end.how;
    if (end.isFailure) this.#failures += 1;
    this.#life = undefined;
    const isGivenUp = !this.#isReplacing && !this.#isTrial && this.#isHopeless(end);
    const restartIn = isGivenUp ? undefined : this.#pauseAfter(end);
    this.#state = restartIn === undefined ? "ended" : "waiting";
    this.#host.onExited(this, last, { ...facts, restartIn, isGivenUp });
    // A hook may have stopped the container.
    if (restartIn === undefined || !this.#isWanted) return this.#finish();
    if (this.#isReplacing) return this.#spawn(true);
    this.#restartedAt.push(monotonic());
    this.#timer = setTimeout(() => this.#spawn(true), restartIn);
    this.#tell();
  }

  #wantsRestart({ isFailure }: LifeEnd): boolean {
    const { restart } = this.options.keep;
    return this.#isWanted && (restart === "always" || (restart === "on-failure" && isFailure));
  }

  #isHopeless(end: LifeEnd): boolean {
    if (!this.#wantsRestart(end)) return false;
    if (end.isFatal && !this.#host.hasRun(this)) return true;
    const { restarts, within } = this.options.keep.intensity;
    const since = monotonic() - within;
    while (this.#restartedAt.length > 0 && this.#restartedAt[0]! < since) this.#restartedAt.shift();
    return this.#restartedAt.length >= restarts;
  }

  /** Returns the ms until the next child is started; `undefined` if none is. */
  #pauseAfter(end: LifeEnd): number | undefined {
    if (!this.#isWanted) return undefined;
    if (this.#isReplacing) return 0;
    if (this.#isTrial) return backoffAfter(1, this.options.keep.backoff);
    if (!this.#wantsRestart(end)) return undefined;
    const { backoff } = this.options.keep;
    this.#attempts = end.wasReady && end.age >= backoff.resetAfter ? 1 : this.#attempts + 1;
    return backoffAfter(this.#attempts, backoff);
  }

  #finish(): void {
    this.#state = "ended";
    this.#host.onFinished(this);
    this.#tell();
  }

  #tell(): void {
    this.#changes.tell();
    this.#host.onChanged(this);
  }
}
