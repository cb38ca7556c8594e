/** Which machines serve a worker, and a warning if none does while items wait. */
import { monotonic } from "../../system/monotonic.js";
import type { MachineRecord } from "./keys.js";
import { listMachines } from "./machines.js";
import type { MapLink } from "./map-link.js";
import type { MappedJob } from "./mapped-job.js";

/** If a job has waited so long and no machine has the worker, a warning says so. */
const UNSERVED_MS = 3000;
/**
 * Machines that were there are missed for so long before that, in ms. When a server was away, the records of all have expired, and each is
 * back after the pause of its connection, which is 30 s at most unless set.
 */
const MISSED_MS = 30_000;

export class MachineWatch {
  readonly #link: MapLink;
  readonly #worker: string;
  #serving: readonly MachineRecord[] = [];
  /** Since when there is none, on the monotonic clock; `Infinity` while there is one. */
  #missedSince = -Infinity;

  constructor(link: MapLink, worker: string) {
    this.#link = link;
    this.#worker = worker;
  }

  /** How many machines serve the worker. */
  get count(): number {
    return this.#serving.length;
  }

  /** How many items they can run at once. */
  get slots(): number {
    return this.#serving.reduce((sum, { slots }) => sum + slots, 0);
  }

  /** @param jobs - those under way */
  async look(jobs: Iterable<MappedJob>): Promise<void> {
    const { client, keys, queue } = this.#link;
    const all = await listMachines(client, keys);
    this.#serving = all.filter(({ workers }) => workers.includes(this.#worker));
    const now = monotonic();
    this.#missedSince = this.#serving.length > 0 ? Infinity : Math.min(this.#missedSince, now);
    if (now - this.#missedSince < MISSED_MS) return;
    for (const { madeAt } of jobs) {
      if (madeAt < now - UNSERVED_MS) return warnOfUnserved(this.#worker, queue.name, all.length);
    }
  }
}

const warned = new Set<string>();

function warnOfUnserved(worker: string, queue: string, others: number): void {
  if (warned.has(worker)) return;
  warned.add(worker);
  const all = others === 1 ? "The machine that serves" : `The ${others} machines that serve`;
  const who =
    others === 0
      ? `No machine serves the queue ${queue}`
      : `${all} the queue ${queue} ${others === 1 ? "does" : "do"} not have ${worker}`;
  const what = `${who}: items wait for one. Start \`forkmap serve\`, or a QueueWorker, with ${worker}`;
  process.emitWarning(what, { type: "ForkmapWarning", code: "FORKMAP_UNSERVED" });
}
