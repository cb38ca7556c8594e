/** Hears what callers abort, on a connection of its own: a client that subscribes can do nothing else. */
import type { Redis } from "ioredis";
import { parse } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import type { AbortMessage, Keys } from "./keys.js";

/**
 * How long an abort is remembered for a job that is not here, in ms: the job may have been given to this machine before, on another connection.
 * Not longer, as a run that is continued adds jobs of the same ids again.
 */
const MEMORY_MS = 1000;

interface Recent {
  readonly queue: string;
  readonly message: AbortMessage;
  readonly at: number;
}

export class Aborts {
  readonly #client: Redis;
  /** By channel. */
  readonly #queues = new Map<string, string>();
  /** Oldest first. */
  #recent: Recent[] = [];

  /**
   * @param client - subscribes
   * @param queues - the keys of each
   * @param onAbort - returns whether the job is here
   */
  constructor(
    client: Redis,
    queues: ReadonlyMap<string, Keys>,
    onAbort: (queue: string, message: AbortMessage) => boolean,
  ) {
    this.#client = client;
    for (const [queue, { aborts }] of queues) this.#queues.set(aborts, queue);
    client.on("message", (channel, text) => {
      const queue = this.#queues.get(channel);
      const message = readMessage(text);
      if (queue === undefined || !message || onAbort(queue, message)) return;
      this.#forget();
      this.#recent.push({ queue, message, at: monotonic() });
    });
  }

  /** Resolves once the channels are heard; after a disconnection, ioredis subscribes again by itself. */
  async listen(): Promise<void> {
    await this.#client.subscribe(...this.#queues.keys());
  }

  /** Returns what was said of a job shortly before it came. */
  of(queue: string, job: string): AbortMessage[] {
    this.#forget();
    return this.#recent
      .filter((recent) => recent.queue === queue && recent.message.job === job)
      .map(({ message }) => message);
  }

  #forget(): void {
    if (this.#recent.length === 0) return;
    const oldest = monotonic() - MEMORY_MS;
    const kept = this.#recent.findIndex(({ at }) => at > oldest);
    this.#recent = kept === -1 ? [] : this.#recent.slice(kept);
  }
}

/** Whoever may write to the server may publish anything. */
function readMessage(text: string): AbortMessage | undefined {
  try {
    const message = parse(text) as AbortMessage | null;
    const places: unknown = message?.places;
    if (typeof message?.job !== "string") return undefined;
    return places === undefined || Array.isArray(places) ? message : undefined;
  } catch {
    return undefined;
  }
}
