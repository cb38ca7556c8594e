/** Connections to the server: whether it can be used is checked once, with a sentence for each cause; then clients reconnect for ever. */
import type * as ioredisModule from "ioredis";
import type { Redis, RedisOptions } from "ioredis";
import type { RetryDelay } from "../../options.js";
import { clearInterval, setImmediate, setInterval } from "../../system/timers.js";
import type { Connection } from "./engine-options.js";
import { loadIoredis, optionsOf } from "./libraries.js";

export { checkServer } from "./check-server.js";

export interface ClientOptions {
  readonly retry: Required<RetryDelay>;
  /** Whether the connection alone keeps the program alive. */
  readonly holdsLoop: boolean;
}

/** How long a server may leave commands without any answer until the client connects anew, in ms: commands that block must be shorter. */
export const SILENCE_LIMIT_MS = 15_000;

/**
 * Returns a client that connects, and reconnects for ever with the pauses of `retry`; its commands wait meanwhile. Its `duplicate`
 * returns another of the kind.
 *
 * @throws EngineError if the libraries are not installed
 * @throws TypeError if `connection` is no URL of Redis
 */
export async function makeClient(connection: Connection, options: ClientOptions): Promise<Redis> {
  const ioredis = await loadIoredis();
  return newClient(ioredis, optionsOf(connection, ioredis, DEFAULTS), options);
}

const DEFAULTS: RedisOptions = {
  /** How long an attempt to connect may take, in ms; meanwhile, it keeps a program alive in any case. */
  connectTimeout: 5000,
  /**
   * After this, the kernel probes a silent connection, ten times in ten seconds, in ms. Only so is it noticed that the connection of a
   * subscriber is gone, as it sends nothing.
   */
  keepAlive: 5000,
  /** How long a client that was closed may hold a program while the server is away, in ms. */
  disconnectTimeout: 500,
};

function newClient(
  ioredis: typeof ioredisModule,
  connection: RedisOptions,
  options: ClientOptions,
): Redis {
  const { min, max, factor } = options.retry;
  const client = new ioredis.Redis({
    ...connection,
    // BullMQ's condition: commands wait for as long as the server is away.
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    enableReadyCheck: true,
    retryStrategy: (attempt) => Math.min(max, min * factor ** (attempt - 1)),
  });
  client.duplicate = (override) => newClient(ioredis, { ...client.options, ...override }, options);
  // Without a listener, ioredis prints. Those that matter are met by a command, or by `checkServer` at the start.
  client.on("error", () => {});
  endSilence(client);
  if (!options.holdsLoop) releaseLoop(client);
  return client;
}

/** Checks in a limit. If the loop was blocked, many are one, so that answers that wait to be read count. */
const CHECKS = 15;

/**
 * Closes a connection that does not answer, so that another is made: after a partition of the network, the kernel may wait for a quarter of an hour.
 * The option `socketTimeout` of ioredis would close the new connection in place of the old.
 */
function endSilence(client: Redis): void {
  let timer: NodeJS.Timeout | undefined;
  client.on("connect", () => {
    const { stream } = client;
    let [silent, read] = [0, 0];
    clearInterval(timer);
    timer = setInterval(() => {
      const isWaiting = countOfSent(client) > 0 && stream.bytesRead === read;
      silent = isWaiting ? silent + 1 : 0;
      read = stream.bytesRead;
      if (silent > CHECKS) stream.destroy(new Error(`No answer for ${SILENCE_LIMIT_MS} ms`));
    }, SILENCE_LIMIT_MS / CHECKS).unref();
  });
  client.on("close", () => clearInterval(timer));
}

/** Of ioredis's own fields, which its types do not have; without them a connection is never silent, and a pause keeps a program alive. */
interface Internals {
  readonly commandQueue?: { readonly length: number };
  readonly reconnectTimeout?: NodeJS.Timeout | null;
}

function countOfSent(client: Redis): number {
  return (client as unknown as Internals).commandQueue?.length ?? 0;
}

function releaseLoop(client: Redis): void {
  const release = () => client.stream?.unref();
  // The socket is made a moment later.
  client.on("connecting", () => void setImmediate(release));
  client.on("connect", release);
  client.on("reconnecting", () => (client as unknown as Internals).reconnectTimeout?.unref());
}
