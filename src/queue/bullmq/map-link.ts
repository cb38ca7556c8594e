/** The connections of a program that maps: to the queue of one worker, to the stream of reports, to the list of machines. */
import { randomUUID } from "node:crypto";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { DEFAULT_RETRY_DELAY } from "../../options.js";
import { checkServer, makeClient } from "./connect.js";
import { loadBullmq } from "./libraries.js";
import type { ResolvedBullmqOptions } from "./engine-options.js";
import { type AbortMessage, Keys } from "./keys.js";
import { settledWithin } from "./settled-within.js";

/**
 * The most events that BullMQ keeps of a queue that only forkmap uses. Nothing here reads them; their default, 10,000, would stay in the
 * server's memory.
 */
const MAX_EVENTS = 100;

/** How long the server may take when all is closed, in ms. */
const CLOSE_MS = 1000;

export interface MapLink {
  /** For everything but waiting. */
  readonly client: Redis;
  /** Waits for reports. */
  readonly waiter: Redis;
  readonly queue: Queue;
  readonly keys: Keys;
  /** Names the calls of this program. */
  readonly id: string;
  readonly options: ResolvedBullmqOptions;
}

/** @throws EngineError within two seconds if the server cannot be used */
export async function openLink(options: ResolvedBullmqOptions, worker: string): Promise<MapLink> {
  const { connection, prefix, queue: name = worker } = options;
  const bullmq = await loadBullmq();
  await checkServer(connection, prefix);
  const how = { retry: DEFAULT_RETRY_DELAY, holdsLoop: false };
  const [client, waiter] = await Promise.all([
    makeClient(connection, how),
    makeClient(connection, how),
  ]);
  const isOwn = options.queue === undefined;
  const queue = new bullmq.Queue(name, {
    connection: client,
    prefix,
    skipMetasUpdate: !isOwn,
    ...(isOwn ? { streams: { events: { maxLen: MAX_EVENTS } } } : {}),
  });
  queue.on("error", () => {});
  return { client, waiter, queue, keys: new Keys(prefix, name), id: randomUUID(), options };
}

export async function abortJob(
  { client, keys }: MapLink,
  job: string,
  places?: readonly number[],
): Promise<void> {
  const message = JSON.stringify({ job, places } satisfies AbortMessage);
  // Told again with the next look, if the server is away.
  await client.publish(keys.aborts, message).catch(() => {});
}

export async function closeLink({ client, waiter, queue, keys, id }: MapLink): Promise<void> {
  waiter.disconnect();
  // A server that is away is not waited for; the stream expires by itself.
  await settledWithin(client.del(keys.reports(id)), CLOSE_MS);
  await settledWithin(queue.close(), CLOSE_MS);
  client.disconnect();
}
