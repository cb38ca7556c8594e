import { Redis } from "ioredis";
import { Library } from "../library.mjs";

/** Connects by itself, while this module is loaded or soon after. */
const client = new Redis(Number(process.env.REDIS_PORT), "127.0.0.1");

export class RedisAtTop extends Library {
  static package = "ioredis";
  static usedAtTopLevel = true;

  async use(n) {
    return await client.get(`k${n}`);
  }
}
