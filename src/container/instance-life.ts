/**
 * One child of an instance, from its start to its end, and the one clock that it has: until it is ready, `startupTimeout`; from
 * then on, since its last sign of health, `healthCheckTimeout`.
 *
 *   launching ──child──▶ starting ──ready──▶ ready
 *       │                    │                 │
 *       └────────────────────┴─── ended ◀──────┘   by itself, asked to stop, or killed
 */
import { ChildKill } from "../launch/child-kill.js";
import { Deadline } from "../launch/deadline.js";
import type { ChildEnd } from "../launch/launcher.js";
import { monotonic } from "../system/monotonic.js";
import { setTimeout } from "../system/timers.js";
import { Breach } from "../wire/breach.js";
import { readNotification } from "../wire/check-message.js";
import { reviveError } from "../wire/error-record.js";
import type { Notification, Replacement, ToInstance } from "../wire/notification.js";
import type { InstanceOutput } from "./instance-output.js";
import type { InstanceEnd } from "./instance-info.js";
import type { ClockInfo } from "./policy.js";
import type { InstanceChild, InstanceStart, ServiceLaunch } from "./service-launch.js";

/** A child that has closed its channel is usually about to end, and how it ends says more. */
const CLOSED_MS = 1000;
const CLOSED = "it has closed its channel, and lived on";
/** A child that SIGKILL has not ended by then is one of a fork server that is frozen, and cannot kill it. */
const ABANDON_MS = 5000;

export interface LifeEvents {
  /** The child exists, and its pid is known. */
  onStarted(): void;
  onReady(): void;
  onStartFailed(clock: ClockInfo): void;
  onHealthCheckFailed(clock: ClockInfo): void;
  /** Its status is another. */
  onStatus(): void;
  onReplace(request: Replacement): void;
  onEnd(end: LifeEnd): void;
}

export interface LifeEnd extends Omit<InstanceEnd, "restartIn" | "isGivenUp"> {
  /** The service could not be loaded: no other child could be started either. */
  readonly isFatal: boolean;
}

interface Clocks {
  readonly startupTimeout: number | undefined;
  readonly healthCheckTimeout: number | undefined;
}

export class InstanceLife {
  status = "";
  readonly #launch: ServiceLaunch;
  readonly #start: InstanceStart;
  readonly #clocks: Clocks;
  readonly #events: LifeEvents;
  readonly #isTagged: boolean;
  #output: InstanceOutput | undefined;
  readonly #kill = new ChildKill();
  readonly #startedAt = monotonic();
  #child: InstanceChild | undefined;
  #isReady = false;
  #isStopping = false;
  /** How long it has to stop, in ms. */
  #grace = Infinity;
  #isGone = false;
  #lastSignAt = 0;
  #clock: Deadline | undefined;
  #closed: Deadline | undefined;
  #abandoning: Deadline | undefined;
  /** Why it was killed by its container, other than on request. */
  #reason: string | undefined;
  #error: unknown;

  constructor(
    launch: ServiceLaunch,
    start: InstanceStart,
    clocks: Clocks,
    isTagged: boolean,
    events: LifeEvents,
  ) {
    this.#launch = launch;
    this.#start = start;
    this.#clocks = clocks;
    this.#events = events;
    this.#isTagged = isTagged;
    const { startupTimeout } = clocks;
    if (startupTimeout !== undefined)
      this.#clock = new Deadline(startupTimeout, () => this.#failStart(startupTimeout));
    void this.#begin();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** In ms. */
  get age(): number {
    return monotonic() - this.#startedAt;
  }

  /** Asks the child to stop, and kills it after `grace` ms; a second call can only shorten that. */
  stop(grace: number): void {
    this.#isStopping = true;
    this.#clock?.clear();
    const child = this.#child;
    if (!child) return this.#endUnstarted("it was stopped before it had a child");
    this.#grace = Math.min(this.#grace, grace);
    if (grace === 0) return this.#signal("SIGKILL");
    if (this.#kill.isUnderWay) {
      setTimeout(() => this.#signal("SIGKILL"), grace).unref();
      return;
    }
    child.send({ do: "stop", within: grace });
    this.#kill.prepare({ killSignal: "SIGINT", forceKillAfterDelay: grace });
    this.#kill.begin({ kill: (signal) => this.#signal(signal) });
  }

  send(message: ToInstance): void {
    this.#child?.send(message);
  }

  /** Asks the child to stop, for as long as it takes. */
  interrupt(): void {
    this.#isStopping = true;
    this.#clock?.clear();
    if (!this.#child) return this.#endUnstarted("it was stopped before it had a child");
    this.#child.kill("SIGINT");
  }

  async #begin(): Promise<void> {
    try {
      await this.#launch.ready();
      if (this.#isTagged) this.#output = await this.#makeOutput();
      if (this.#isGone) return;
      this.#child = this.#launch.start(this.#start, {
        onReady: () => this.#events.onStarted(),
        onWaiting() {},
        onAnswer: (message) => this.#listen(message),
        onBreach: (reason) => this.#killFor(`it ${reason}`),
        onClosed: () => this.#onClosed(),
        ...(this.#output ? { onOutput: (name, bytes) => this.#output!.push(name, bytes) } : {}),
        onEnd: (end) => this.#onEnd(end),
      });
      if (this.#child.output) this.#output?.follow(this.#child.output);
    } catch (error) {
      const { message } = error as Error;
      this.#onEnd({ started: false, reason: message, fatal: error as Error });
    }
  }

  async #makeOutput(): Promise<InstanceOutput> {
    const { InstanceOutput } = await import("./instance-output.js");
    return new InstanceOutput(`${this.#start.name} ${this.#start.num}: `);
  }

  #listen(message: unknown): void {
    try {
      this.#onNotification(readNotification(message));
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#killFor(`it ${error.message}`);
    }
  }

  #onNotification({ ready, healthy, status, replace, error }: Notification): void {
    if (error !== undefined) this.#error = reviveError(error);
    if (status !== undefined) {
      this.status = status;
      this.#events.onStatus();
    }
    if (replace !== undefined) this.#events.onReplace(replace);
    if (ready === true || healthy === true) this.#lastSignAt = monotonic();
    if (ready !== true || this.#isReady || this.#isStopping) return;
    this.#isReady = true;
    this.#clock?.clear();
    this.#watchHealth();
    this.#events.onReady();
  }

  #watchHealth(): void {
    const { healthCheckTimeout: timeout } = this.#clocks;
    if (timeout === undefined) return;
    const left = this.#lastSignAt + timeout - monotonic();
    this.#clock = new Deadline(Math.max(1, Math.ceil(left)), () => {
      const age = monotonic() - this.#lastSignAt;
      if (age < timeout) return this.#watchHealth();
      this.#events.onHealthCheckFailed({ age, timeout });
      this.#killFor(`it gave no sign of health for ${timeout} ms`);
    });
  }

  #failStart(timeout: number): void {
    this.#events.onStartFailed({ age: this.age, timeout });
    const reason = `it was not ready after ${timeout} ms`;
    if (this.#child) this.#killFor(reason);
    else this.#endUnstarted(reason);
  }

  #onClosed(): void {
    if (this.#isGone) return;
    this.#closed ??= new Deadline(CLOSED_MS, () => this.#killFor(CLOSED));
  }

  /** Kills the child, with all that it has started. */
  #killFor(reason: string): void {
    this.#reason ??= reason;
    this.#signal("SIGKILL");
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#isGone) return;
    this.#child?.kill(signal);
    if (signal === "SIGKILL")
      this.#abandoning ??= new Deadline(ABANDON_MS, () => this.#launch.abandon());
  }

  /** What the words of its end do not say. */
  #whyInWords(wasKilled: boolean): string {
    if (wasKilled) return `, as it had not stopped within ${this.#grace} ms`;
    const error = this.#error;
    return error instanceof Error ? `: ${error.name}: ${error.message}` : "";
  }

  #endUnstarted(reason: string): void {
    // Later, as any end is told later than its cause.
    queueMicrotask(() => this.#onEnd({ started: false, reason }));
  }

  #onEnd(end: ChildEnd): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#clock?.clear();
    this.#kill.end();
    this.#closed?.clear();
    this.#abandoning?.clear();
    this.#output?.end();
    const { exitCode, signal, fatal } = end.started
      ? { ...end, fatal: undefined }
      : { ...NONE, ...end };
    // It was about to end: nobody had reaped it yet.
    if (this.#reason === CLOSED && exitCode !== undefined) this.#reason = undefined;
    const wasKilled =
      this.#isStopping && signal === "SIGKILL" && this.#grace > 0 && this.#grace < Infinity;
    this.#events.onEnd({
      how: this.#reason ?? inWords(end) + this.#whyInWords(wasKilled),
      wasKilled,
      exitCode,
      signal,
      error: this.#error ?? fatal,
      isFailure:
        !this.#isStopping && (this.#reason !== undefined || !end.started || exitCode !== 0),
      wasReady: this.#isReady,
      age: this.age,
      isFatal: fatal !== undefined,
    });
  }
}

const NONE = { exitCode: undefined, signal: undefined, fatal: undefined };

function inWords(end: ChildEnd): string {
  if (!end.started) return end.reason;
  const how = end.signal ?? (end.exitCode === undefined ? "lost" : `exit code ${end.exitCode}`);
  const why = end.reason === undefined ? "" : ` (${end.reason})`;
  return `${how}${why}${end.outOfMemory ? ", probably out of memory" : ""}`;
}
