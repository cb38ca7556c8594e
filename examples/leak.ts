/**
 * Finds a leak in a service that runs: a small web service keeps what it should forget, see workers/offer-cache.ts. The supervisor is asked what one of its
 * instances keeps, and names the file, the function and the class. At last a monitor replaces the instance, as it would at night.
 *
 *     npm run build:examples && node build/examples/leak.js
 *     node build/examples/leak.js --page       # prints the address of the dashboard, where you see it grow; ends with Ctrl-C
 */
import http from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { Container, type Instance, Service } from "forkmap/container";
import { MemoryMonitor, type MemorySample, Supervisor, SupervisorClient } from "forkmap/supervisor";
import { offersFor } from "./workers/offer-cache.js";

const MIB = 2 ** 20;

export class Shop extends Service {
  async run(instance: Instance): Promise<void> {
    const server = http.createServer((request, response) => {
      response.end(JSON.stringify(offersFor(request.url ?? "/").slice(0, 10)));
    });
    await instance.serve(server, "http");
  }
}

const container = new Container({ sockets: { http: { host: "127.0.0.1", port: 0 } } });
const supervisor = new Supervisor({
  monitors: [new MemoryMonitor({ interval: 1000, limit: 80 * MIB })],
});
container.spawn(supervisor, { name: "supervisor", restart: "always" });
container.run(new Shop(), { count: 2, name: "shop", restart: "always", supervised: true });
await container.waitUntilReady();
const client = await SupervisorClient.connect(supervisor.directory);
const { port } = container.address("http") as { port: number };

const stopped = new AbortController();
if (process.argv.includes("--page")) await showPage();
else await findLeak();
stopped.abort();
await client.close();
await container.stop();

async function findLeak(): Promise<void> {
  // Few requests a second, so that the limit is far away while it is looked at.
  const load = sendRequests(20);
  console.log("What instance 1 has kept of what it allocated in 4 s:\n");
  const sample = await client.call({ do: "memory_sample", duration: 4000 }, { num: 1 });
  print(sample);
  console.log("\nNow with more requests, until the monitor replaces an instance:\n");
  const more = sendRequests(1);
  await untilReplaced();
  stopped.abort();
  await Promise.all([load, more]);
}

/** The page has the same: a line of memory that only rises, and falls when the instance is replaced. */
async function showPage(): Promise<void> {
  const dashboard = await client.dashboard();
  console.log(`Open ${dashboard.url}`);
  const load = sendRequests(5);
  await new Promise((resolve) => process.once("SIGINT", resolve));
  stopped.abort();
  await load;
  await dashboard.close();
}

/** Each line says where to look: in which package, in which file, at which function, and for which class. */
function print({ retained }: MemorySample): void {
  const share = (bytes = 0) => `${Math.round((100 * bytes) / retained.bytes)} %`;
  console.log(`  all        ${inMiB(retained.bytes)}`);
  for (const { name, bytes } of retained.files.top.slice(0, 2))
    console.log(`  file       ${share(bytes)} ${name}`);
  for (const { name, bytes } of retained.locations.top.slice(0, 2))
    console.log(`  function   ${share(bytes)} ${name}`);
  for (const { name, count } of retained.classes?.top.slice(0, 2) ?? [])
    console.log(`  class      ${count} more of ${name}`);
}

async function untilReplaced(): Promise<void> {
  let replaced: number | undefined;
  for await (const { events, instances } of client.watch()) {
    for (const { num, what, text } of events) {
      if (what === "replaced") replaced = num;
      if (num === replaced) console.log(`  instance ${num} ${what}${text && `: ${text}`}`);
    }
    const after = instances.find(({ num }) => num === replaced);
    if (after?.state !== "ready" || after.generation === 1 || after.memory === undefined) continue;
    console.log(`  instance ${replaced} has ${inMiB(after.memory)} now`);
    return;
  }
}

/** Sends what a newsletter brings: many links to one page, each with a parameter of its own. */
async function sendRequests(pause: number): Promise<void> {
  for (let reader = 0; !stopped.signal.aborted; reader += 1) {
    await get(`http://127.0.0.1:${port}/offers?from=newsletter&reader=${pause}-${reader}`);
    await sleep(pause, undefined, { signal: stopped.signal }).catch(() => {});
  }
}

/** Over a connection of its own, so that both instances have half of them. */
async function get(url: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false }, (response) => {
      text(response).then(resolve, reject);
    });
    request.on("error", reject);
  });
}

function inMiB(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
