/** The streams in which callers read what became of their batches: whether there still is one, and entries in them. */
import type { Redis } from "ioredis";
import { monotonic } from "../../system/monotonic.js";
import { persist, type Persistence } from "./persist.js";

/** In ms. A stream that is gone is asked for again: its caller may continue the run at any time. */
const KNOWN_FOR_MS = 1000;

export class Reports {
  readonly #client: Redis;
  readonly #persistence: Persistence;
  /** When each was last seen. */
  readonly #seen = new Map<string, number>();

  constructor(client: Redis, persistence: Persistence) {
    this.#client = client;
    this.#persistence = persistence;
  }

  /** Whether anybody waits for reports in a stream. */
  async isOpen(stream: string): Promise<boolean> {
    const now = monotonic();
    if (now - (this.#seen.get(stream) ?? -Infinity) < KNOWN_FOR_MS) return true;
    const exists = await this.#send(() => this.#client.exists(stream));
    if (exists === 0) return false;
    for (const [key, time] of this.#seen) if (now - time >= KNOWN_FOR_MS) this.#seen.delete(key);
    this.#seen.set(stream, now);
    return true;
  }

  /**
   * Adds an entry, unless the stream is gone: its run is over. It may be there twice if the connection was cut at the same time.
   *
   * @param report - missing where a caller's abort was obeyed
   */
  async add(stream: string, job: string, report?: string): Promise<void> {
    const fields = report === undefined ? ["job", job] : ["job", job, "report", report];
    await this.#send(() => this.#client.xadd(stream, "NOMKSTREAM", "*", ...fields));
  }

  async #send<T>(command: () => Promise<T>): Promise<T | undefined> {
    return await persist(command, () => false, this.#persistence);
  }
}
