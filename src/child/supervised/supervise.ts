/**
 * The folder holds what makes a child known to its supervisor, and answers what that asks. Here: measures the child, in a file that the supervisor
 * reads, and keeps a connection for its calls. Nothing of the child ever waits for it.
 */
import { performance } from "node:perf_hooks";
import { monotonic } from "../../system/monotonic.js";
import { setTimeout } from "../../system/timers.js";
import { stringify } from "../../system/json.js";
import { LONGEST_TICK_MS } from "../../wire/metrics-file.js";
import type { ChildFacts } from "../../wire/supervision.js";
import { useMetrics } from "../../worker/user-metrics.js";
import type { Supervision } from "../../worker/worker-source.js";
import type { Kind } from "../../worker/worker.js";
import type { Supervised } from "../items/supervised.js";
import type { Libc } from "../libc.js";
import { Interrupts } from "./interrupts.js";
import { MetricsFile } from "./metrics-file.js";
import { SupervisorLink } from "./supervisor-link.js";

/** How often the child is measured. */
const TICK_MS = 1000;
/** Below this utilization, and without items, nothing is to be seen. To wake up takes some 0.5 ms, more than all that is done then. */
const IDLE_UTILIZATION = 0.01;

/** Which child it is. */
export interface ChildName {
  readonly num: number;
  readonly generation: number;
  readonly name: string;
  readonly kind: Kind;
}

/**
 * @param child - what it shows, and can be asked for
 * @returns what is to be called last, so that what was begun since it was measured counts
 * @param libc - to map a file into memory; without it, what the child counts is written when it is measured
 */
export function supervise(
  { directory, run, pool }: Supervision,
  name: ChildName,
  child: Supervised,
  libc: Libc | undefined,
): () => void {
  const facts: ChildFacts = {
    ...name,
    run,
    pool,
    pid: process.pid,
    startedAt: monotonic(),
    version: process.version,
  };
  // The supervisor makes the directory, and may not have done so yet.
  let metrics: MetricsFile | undefined;
  const measure = measurer(child);
  const open = () => {
    metrics = MetricsFile.open(directory, facts, libc);
    if (!metrics) return;
    metrics.memory.measured(monotonic());
    useMetrics(metrics.memory);
  };
  const interrupted = new Interrupted(directory, { run, num: name.num }, child);
  open();
  const tick = () => {
    interrupted.check();
    if (!metrics) open();
    const next = metrics ? measure(metrics) : TICK_MS;
    metrics?.write();
    setTimeout(tick, next).unref();
  };
  setTimeout(tick, TICK_MS).unref();
  new SupervisorLink(directory, facts, child, (token) => interrupted.follow(token)).begin();
  return () => {
    if (metrics) measure(metrics);
    metrics?.write();
    // A forked child ends without Node's teardown.
    if (name.kind !== "fork") interrupted.follow(undefined);
  };
}

/** Keeps the child open to interrupts while its supervisor knows it. */
class Interrupted {
  readonly #directory: string;
  readonly #name: object;
  readonly #child: Supervised;
  #token: string | undefined;
  #interrupts: Interrupts | undefined;

  constructor(directory: string, name: object, child: Supervised) {
    this.#directory = directory;
    this.#name = name;
    this.#child = child;
  }

  /** @param token - of the supervisor that knows the child; undefined if none does */
  follow(token: string | undefined): void {
    this.#token = token;
    this.#interrupts?.close();
    if (token !== undefined) this.#open(token);
  }

  /** Called now and then. */
  check(): void {
    this.#interrupts?.check();
    // The supervisor had not yet seen the end of the connection before.
    if (this.#token !== undefined && this.#interrupts?.isOpen === false) this.#open(this.#token);
  }

  #open(token: string): void {
    const hello = stringify({ id: 1, do: "interrupts", token, ...this.#name });
    const inFlight = () => ({ inFlight: this.#child.inFlight() });
    const opened = Interrupts.open(this.#directory, hello, inFlight);
    if (opened instanceof Interrupts) this.#interrupts = opened;
  }
}

/** Returns what measures the child: since it was called last, or since the start. That returns the ms until it is to be called again. */
function measurer(child: Supervised): (metrics: MetricsFile) => number {
  let items = 0;
  let last = performance.eventLoopUtilization();
  let due = monotonic() + TICK_MS;
  return (metrics) => {
    const now = monotonic();
    const current = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(current, last);
    last = current;
    metrics.set("forkmap_event_loop_utilization", utilization);
    metrics.set("forkmap_event_loop_delay_seconds", Math.max(0, now - due) / 1000);
    metrics.memory.measured(now);
    metrics.set("forkmap_items_in_flight", child.inFlight());
    const begun = child.items();
    metrics.add("forkmap_items_total", begun - items);
    const isIdle = utilization < IDLE_UTILIZATION && child.inFlight() === 0 && begun === items;
    items = begun;
    const next = isIdle ? LONGEST_TICK_MS : TICK_MS;
    due = now + next;
    return next;
  };
}
