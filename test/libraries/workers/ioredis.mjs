import { Redis } from "ioredis";
import { Library } from "../library.mjs";

let client;

export class RedisClient extends Library {
  async use(n) {
    client ??= new Redis(Number(process.env.REDIS_PORT), "127.0.0.1");
    return await client.get(`k${n}`);
  }
}
