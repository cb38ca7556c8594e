/**
 * Runs monitors, each at its own interval and never twice at a time. What one does, throws or leaves unfinished is kept from the others and from the
 * supervisor; only a loop that never yields stops them all, as they share one thread.
 */
import { describe } from "../system/describe.js";
import { isThenable } from "../system/thenable.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { MAX_DELAY_MS } from "../wire/protocol.js";
import type { Monitor, MonitorContext, SupervisedInstance } from "./monitor.js";
import { warnOf } from "./monitor-warning.js";
import type { MonitorStatus } from "./supervision-state.js";

/** A run that has taken so many intervals, and does not end, is told of. */
const HANGS_AFTER_INTERVALS = 3;
/** But not before so many ms: on a busy machine any run may take as long as a short interval. */
const HANGS_AFTER_MS = 1000;
/** All of them are part of one answer, of 1 MiB at most. */
const MAX_STATUS = 64 * 1024;
/** As of `Monitor`: for one whose own interval is none. */
const DEFAULT_INTERVAL_MS = 10_000;

export class MonitorLoop {
  readonly #entries: readonly Entry[];

  /** @param context - called before each run */
  constructor(monitors: readonly Monitor[], context: () => MonitorContext) {
    this.#entries = monitors.map((monitor) => new Entry(monitor, context));
  }

  /** Each monitor runs first when its interval has passed. */
  start(): void {
    for (const entry of this.#entries) entry.start();
  }

  /** No run begins any more; those under way are left alone. */
  stop(): void {
    for (const entry of this.#entries) entry.stop();
  }

  register(instance: SupervisedInstance): void {
    for (const entry of this.#entries) entry.tell("register", instance);
  }

  remove(instance: SupervisedInstance): void {
    for (const entry of this.#entries) entry.tell("remove", instance);
  }

  status(): MonitorStatus[] {
    return this.#entries.map((entry) => entry.status());
  }
}

class Entry {
  readonly #monitor: Monitor;
  readonly #context: () => MonitorContext;
  readonly #name: string;
  readonly #interval: number;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = true;
  #isRunning = false;
  #runs = 0;
  #lastRun: number | undefined;
  #error: string | undefined;

  constructor(monitor: Monitor, context: () => MonitorContext) {
    this.#monitor = monitor;
    this.#context = context;
    this.#name = monitor.constructor.name || "A monitor";
    const { interval } = monitor as { interval: unknown };
    // The user's own class may set anything; a timer would take what is no number for 1 ms.
    const isInterval = typeof interval === "number" && interval >= 1 && interval <= MAX_DELAY_MS;
    this.#interval = isInterval ? interval : DEFAULT_INTERVAL_MS;
    if (isInterval) return;
    const expected = `a number of ms from 1 to ${MAX_DELAY_MS}`;
    this.#fail(
      `has an \`interval\` that is not ${expected}, but ${describe(interval)}: it is taken for ${DEFAULT_INTERVAL_MS}`,
    );
  }

  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    // A run from before `stop` goes on, and the next begins after it.
    if (!this.#isRunning) this.#wait(this.#interval);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  tell(what: "register" | "remove", instance: SupervisedInstance): void {
    try {
      const returned: unknown = this.#monitor[what](instance);
      // Declared to return nothing, which an async method may be used for all the same.
      if (isThenable(returned))
        returned.then(undefined, (error: unknown) => this.#failed(what, error));
    } catch (error) {
      this.#failed(what, error);
    }
  }

  status(): MonitorStatus {
    let status: unknown;
    try {
      const text = JSON.stringify(this.#monitor.status()) as string | undefined;
      if (text !== undefined && text.length > MAX_STATUS)
        throw new RangeError(
          `Expected a status of at most ${MAX_STATUS} characters, got ${text.length}`,
        );
      status = text === undefined ? undefined : JSON.parse(text);
    } catch (error) {
      this.#failed("status", error);
    }
    const facts = { name: this.#name, interval: this.#interval, runs: this.#runs };
    const error = this.#error === undefined ? {} : { error: this.#error };
    return { ...facts, lastRun: this.#lastRun, ...error, status };
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#run(), ms).unref();
  }

  async #run(): Promise<void> {
    const began = performance.now();
    this.#isRunning = true;
    this.#runs += 1;
    this.#lastRun = Date.now();
    const patience = Math.max(HANGS_AFTER_MS, HANGS_AFTER_INTERVALS * this.#interval);
    const watch = setTimeout(
      () =>
        this.#fail(
          `has been running for ${patience} ms: it does not run again before run() has settled`,
        ),
      Math.min(MAX_DELAY_MS, patience),
    ).unref();
    try {
      await this.#monitor.run(this.#context());
      this.#error = undefined;
    } catch (error) {
      this.#failed("run", error);
    }
    clearTimeout(watch);
    this.#isRunning = false;
    this.#wait(Math.max(0, this.#interval - (performance.now() - began)));
  }

  #failed(what: string, error: unknown): void {
    this.#fail(`failed in ${what}(): ${inWords(error)}`);
  }

  #fail(what: string): void {
    this.#error = what;
    warnOf(`The monitor ${this.#name} ${what}`);
  }
}

function inWords(error: unknown): string {
  try {
    if (error instanceof Error) return `${error.name}: ${error.message}`;
  } catch {
    // A getter of it threw.
    return "an error that cannot be read";
  }
  return describe(error);
}
