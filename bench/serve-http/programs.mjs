/** Starts and asks the programs of this folder, and those that pm2 keeps. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Skip } from "../harness.mjs";

const STOP_MS = 3000;
const LAST_WORDS_MS = 500;

/** A program that is running: `pids()` of its instances, `restart(signal)` until all are ready, `stop()`. */
export async function startProgram(name, env) {
  const port = await freePort();
  const child = spawn(process.execPath, [fileURLToPath(new URL(`${name}.mjs`, import.meta.url))], {
    env: { ...process.env, ...env, PORT: String(port), NOTIFY_PIPE: "3" },
    stdio: ["pipe", "pipe", "inherit", "pipe"],
  });
  const exited = once(child, "exit");
  const failed = exited.then(([code]) => {
    throw new Error(`${name}.mjs has ended (${code})`);
  });
  failed.catch(() => {});
  const news = lines(child.stdio[3]);
  const answers = lines(child.stdout);
  const ready = async () => {
    for (;;) {
      const { value } = await Promise.race([news.next(), failed]);
      if (value === undefined) throw new Error(`${name}.mjs has ended`);
      if (JSON.parse(value).ready) return;
    }
  };
  await ready();
  return {
    port,
    async pids() {
      child.stdin.write("\n");
      return JSON.parse((await answers.next()).value).pids;
    },
    async restart(signal) {
      child.kill(signal);
      await ready();
    },
    async stop() {
      child.kill("SIGTERM");
      const hasEnded = await Promise.race([exited.then(() => true), sleep(STOP_MS, false)]);
      if (hasEnded) return;
      child.kill("SIGKILL");
      await exited;
    },
  };
}

function lines(stream) {
  return createInterface({ input: stream })[Symbol.asyncIterator]();
}

let pm2;
let home;

/** As `startProgram`, kept by pm2 in cluster mode, in a home of its own. */
export async function startInPm2(name, env) {
  await connect();
  const port = await freePort();
  await pm2.start({
    name,
    script: fileURLToPath(new URL("server.mjs", import.meta.url)),
    exec_mode: "cluster",
    instances: Number(env.COUNT),
    wait_ready: true,
    env: { ...env, PORT: String(port) },
  });
  return {
    port,
    async pids() {
      const all = await pm2.list();
      return all.filter((each) => each.name === name).map(({ pid }) => pid);
    },
    restart: () => pm2.reload(name),
    stop: () => pm2.delete(name),
  };
}

async function connect() {
  if (pm2) return;
  home ??= mkdtempSync(path.join(tmpdir(), "forkmap-bench-pm2-"));
  // Read when the module is loaded.
  process.env.PM2_HOME = home;
  let api;
  try {
    ({ default: api } = await import("pm2"));
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new Skip("pm2 is not installed");
  }
  const call = (method) => promisify(api[method].bind(api));
  pm2 = Object.fromEntries(
    ["connect", "start", "reload", "list", "delete", "killDaemon"].map((name) => [
      name,
      call(name),
    ]),
  );
  await pm2.connect();
}

/** Ends pm2's daemon with all that it keeps. */
export async function endPm2() {
  if (pm2) {
    await pm2.killDaemon();
    // As it ends it still writes to its home.
    await sleep(LAST_WORDS_MS);
  }
  pm2 = undefined;
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
