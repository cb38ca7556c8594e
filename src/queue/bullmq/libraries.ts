/** The libraries that the engine needs, which are optional, and what ioredis makes of a user's `connection`. */
import type * as bullmqModule from "bullmq";
import type * as ioredisModule from "ioredis";
import type { RedisOptions } from "ioredis";
import { EngineError } from "../../errors.js";
import type { Connection } from "./engine-options.js";

export type Bullmq = typeof bullmqModule;
export type Ioredis = typeof ioredisModule;

/** @throws EngineError if it is not installed */
export function loadBullmq(): Promise<Bullmq> {
  return load(() => import("bullmq"));
}

/** The thread that keeps locks needs nothing else. @throws EngineError if it is not installed */
export function loadIoredis(): Promise<Ioredis> {
  return load(() => import("ioredis"));
}

/** Both are optional. */
async function load<T>(library: () => Promise<T>): Promise<T> {
  try {
    return await library();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new EngineError(
      "forkmap/bullmq needs the packages bullmq and ioredis: npm install bullmq ioredis",
      "unsuitable",
      { cause: error },
    );
  }
}

/**
 * Returns what ioredis makes of `connection`, with defaults of ours.
 *
 * @throws TypeError if `connection` is no URL of Redis, or has what BullMQ cannot use
 */
export function optionsOf(
  connection: Connection,
  ioredis: typeof ioredisModule,
  defaults: RedisOptions = {},
): RedisOptions {
  const options =
    typeof connection === "string"
      ? parse(connection, ioredis, defaults)
      : fromObject(connection, ioredis, defaults);
  if (!options.keyPrefix) return options;
  throw new TypeError(
    "Expected `connection` without `keyPrefix`, which BullMQ cannot use: the option `prefix`, beside `connection`, begins all keys",
  );
}

/** As BullMQ has it: a `url` may stand beside other options, and comes before them. */
function fromObject(
  connection: Exclude<Connection, string>,
  ioredis: typeof ioredisModule,
  defaults: RedisOptions,
): RedisOptions {
  const { url, ...others } = withoutFunctions(connection);
  for (const [name, own] of Object.entries(FOREIGN)) {
    if (!(name in others)) continue;
    throw new TypeError(
      `Expected \`connection\` to have options of ioredis, got \`${name}\`: use ${own}`,
    );
  }
  const all = { ...defaults, ...others };
  return url === undefined ? all : parse(url, ioredis, all);
}

/** Options of other clients. ioredis passes over them, and would go to another server than was meant. */
const FOREIGN = {
  uri: "`url`",
  hostname: "`host`",
  user: "`username`",
  pass: "`password`",
  database: "`db`",
  socket: "`host` and `port`, or `path`, and `tls`",
};

/** Only ioredis knows all its forms of addresses. */
function parse(url: string, { Redis }: typeof ioredisModule, defaults: RedisOptions): RedisOptions {
  const scheme = /^([\w+.-]+):\/\//.exec(url)?.[1];
  if (scheme !== undefined && !/^rediss?$/i.test(scheme)) {
    throw new TypeError(
      `Expected \`connection\` to be a URL that begins with redis:// or rediss://, got one that begins with ${scheme}://`,
    );
  }
  try {
    // A client that waits has opened nothing.
    const { options } = new Redis(url, { ...defaults, lazyConnect: true });
    return { ...options, lazyConnect: false };
  } catch {
    // The error has the URL, and so the password.
    throw new TypeError(
      "Expected `connection` to be a URL such as redis://user:password@host:6379/0, got one that cannot be parsed: escape special characters of the password by encodeURIComponent",
    );
  }
}

function withoutFunctions<T extends object>(options: T): T {
  const entries = Object.entries(options).filter(([, value]) => typeof value !== "function");
  return Object.fromEntries(entries) as T;
}
