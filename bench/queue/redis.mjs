/** A Redis server of the bench's own, which keeps nothing on disk and listens only on a Unix socket. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_MS = 20;

/** @returns {Promise<{connection: object, close: () => Promise<void>} | undefined>} `undefined` if no redis-server is installed */
export async function startRedis() {
  if (spawnSync("redis-server", ["--version"]).error) return undefined;
  const directory = mkdtempSync(join(tmpdir(), "forkmap-bench-queue-"));
  const path = join(directory, "redis.sock");
  const options = {
    port: "0",
    unixsocket: path,
    unixsocketperm: "700",
    dir: directory,
    save: "",
    appendonly: "no",
    "maxmemory-policy": "noeviction",
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const server = spawn("redis-server", args, { stdio: ["ignore", "ignore", "inherit"] });
  const end = () => {
    server.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", end);
  while (!existsSync(path)) {
    if (server.exitCode !== null) throw new Error(`redis-server ended with ${server.exitCode}`);
    await sleep(LOOK_MS);
  }
  return {
    connection: { path, maxRetriesPerRequest: null },
    async close() {
      process.off("exit", end);
      const exited = once(server, "exit");
      end();
      await exited;
    },
  };
}
