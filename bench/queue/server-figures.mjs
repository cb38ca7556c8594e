/** What a Redis server tells of itself (CPU time, commands, memory, connections), and what of it a piece of work took. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";

const LOOK_MS = 50;

export class ServerFigures {
  #client;

  constructor(connection) {
    this.#client = new Redis(connection);
  }

  /** @returns CPU time in ms, memory and traffic in bytes, and counts */
  async look() {
    const lines = (await this.#client.info()).split("\r\n");
    const info = new Map(lines.map((line) => line.split(":")));
    const number = (name) => Number(info.get(name));
    return {
      pid: number("process_id"),
      cpu: 1000 * (number("used_cpu_user") + number("used_cpu_sys")),
      commands: number("total_commands_processed"),
      memory: number("used_memory"),
      connections: number("connected_clients"),
      traffic: number("total_net_input_bytes") + number("total_net_output_bytes"),
    };
  }

  /** Returns the increase of each figure while `work` is under way, and its time in ms. */
  async during(work) {
    const before = await this.look();
    const start = performance.now();
    await work();
    const ms = performance.now() - start;
    const after = await this.look();
    const increases = Object.entries(after).map(([name, value]) => [name, value - before[name]]);
    return { ...Object.fromEntries(increases), ms };
  }

  /** Resolves once a list has as many entries. */
  async hasList(key, length) {
    while ((await this.#client.llen(key)) < length) await sleep(LOOK_MS);
  }

  /** Removes all that is stored. */
  async clear() {
    await this.#client.flushall();
  }

  close() {
    this.#client.disconnect();
  }
}
