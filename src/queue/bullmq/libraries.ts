/** The libraries that the engine needs, which are optional, and what ioredis makes of a user's `connection`. */
import type * as bullmqModule from "bullmq";
import type * as ioredisModule from "ioredis";
import type { RedisOptions } from "ioredis";
import { EngineError } from "../../errors.js";
import type { Connection } from "./engine-options.js";

export interface Libraries {
  readonly bullmq: typeof bullmqModule;
  readonly ioredis: typeof ioredisModule;
}

/** @throws EngineError if they are not installed: both are optional */
export async function loadLibraries(): Promise<Libraries> {
  try {
    const [bullmq, ioredis] = await Promise.all([import("bullmq"), import("ioredis")]);
    return { bullmq, ioredis };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new EngineError(
      "forkmap/bullmq needs the packages bullmq and ioredis: npm install bullmq ioredis",
      "unsuitable",
      { cause: error },
    );
  }
}

/** @throws TypeError if `connection` is no URL of Redis */
export function optionsOf(connection: Connection, { Redis }: typeof ioredisModule): RedisOptions {
  if (typeof connection !== "string") {
    const entries = Object.entries(connection).filter(([, value]) => typeof value !== "function");
    return Object.fromEntries(entries);
  }
  const scheme = /^([\w+.-]+):\/\//.exec(connection)?.[1];
  if (scheme !== undefined && !/^rediss?$/i.test(scheme)) {
    throw new TypeError(
      `Expected \`connection\` to be a URL that begins with redis:// or rediss://, got one that begins with ${scheme}://`,
    );
  }
  // Only ioredis knows all its forms of addresses; one that waits has opened nothing.
  const { options } = new Redis(connection, { lazyConnect: true });
  return { ...options, lazyConnect: false };
}
