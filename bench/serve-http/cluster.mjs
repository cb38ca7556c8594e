/**
 * The program of node:cluster, which tells as that of forkmap does. A restart is written by hand: a worker is forked, and the old one disconnects once the
 * new one listens; one after the other on USR2, all at once on HUP.
 */
import cluster from "node:cluster";
import { once } from "node:events";
import { writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { settings } from "./app.mjs";

const NOTIFY_FD = 3;

if (process.env.POLICY === "none") cluster.schedulingPolicy = cluster.SCHED_NONE;
cluster.setupPrimary({ exec: fileURLToPath(new URL("server.mjs", import.meta.url)) });

let workers = await Promise.all(Array.from({ length: settings().count }, start));
process.on("SIGHUP", () => void restart(() => Promise.all(workers.map(replace))));
process.on(
  "SIGUSR2",
  () =>
    void restart(async () => {
      for (const worker of workers) await replace(worker);
    }),
);
process.on("SIGTERM", end);
// The bench has ended.
process.stdin.on("end", end);
process.stdin.on("data", () => {
  console.log(JSON.stringify({ pids: workers.map((worker) => worker.process.pid) }));
});
tell({ ready: true });

async function start() {
  const worker = cluster.fork();
  await once(worker, "listening");
  return worker;
}

async function restart(replaceAll) {
  await replaceAll();
  tell({ ready: true });
}

async function replace(old) {
  const worker = await start();
  workers = workers.map((each) => (each === old ? worker : each));
  old.disconnect();
}

function end() {
  for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGKILL");
  process.exit();
}

function tell(news) {
  writeSync(NOTIFY_FD, `${JSON.stringify(news)}\n`);
}
