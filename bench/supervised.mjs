/**
 * What it costs an instance that a supervisor knows it: memory and CPU time while it is idle, and the latency of its requests, beside instances of the
 * same service that none knows. Linux only.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Container } from "forkmap/container";
import { MemoryMonitor, ProcessMonitor, Supervisor, UtilizationMonitor } from "forkmap/supervisor";
import * as harness from "./harness.mjs";
import { Hello } from "./workers/supervised.mjs";

const { atMost, digits, median, ratio, span, target } = harness;
const ANY = { host: "127.0.0.1", port: 0 };
const START_METHODS = ["fork", "spawn"];
const SUPERVISED = "supervised";
const ALONE = "not supervised";
const COUNT = harness.size(4, 2);
/** Longer than the 8 s after which V8 collects garbage in an idle process. */
const WARM_MS = harness.size(15_000, 500);
const IDLE_MS = harness.size(60_000, 2000);
const CONNECTIONS = 10;
/** A second: far below what the instances can do. */
const RATE = 200;
const SECONDS = harness.size(5, 0.5);
/** The ms after which autocannon looks whether it is done. */
const SAMPLE_MS = harness.size(1000, 100);
const MEBIBYTE = 2 ** 20;
const NANOSECONDS_PER_MS = 1e6;

if (process.platform !== "linux") {
  console.log("skipped: /proc is Linux");
  process.exit();
}

harness.introduce("supervised");
const programs = await Promise.all(START_METHODS.map(start));
await Promise.all(programs.map(({ ports }) => Promise.all(Object.values(ports).map(warm))));
await sleep(WARM_MS);
await idle();
const figures = await harness.race(programs.flatMap(requests));
latency();
await Promise.all(programs.map(({ container }) => container.stop()));

/** One container with as many supervised instances as others, each kind on a socket of its own. */
async function start(startMethod) {
  const sockets = { [SUPERVISED]: ANY, [ALONE]: ANY };
  const container = new Container({ startMethod, sockets });
  const monitors = [
    new MemoryMonitor({ limit: 512 * MEBIBYTE }),
    new ProcessMonitor(),
    new UtilizationMonitor(),
  ];
  container.spawn(new Supervisor({ monitors }), { name: "supervisor" });
  container.run(new Hello(SUPERVISED), { name: SUPERVISED, count: COUNT, supervised: true });
  container.run(new Hello(ALONE), { name: ALONE, count: COUNT });
  await container.waitUntilReady();
  const ports = Object.fromEntries(
    [SUPERVISED, ALONE].map((name) => [name, container.address(name).port]),
  );
  return { startMethod, container, ports };
}

function pidsOf({ container }, name) {
  return container.instances.filter((each) => each.name === name).map(({ pid }) => pid);
}

/** All at the same time. */
async function idle() {
  const watched = programs.flatMap((program) =>
    [SUPERVISED, ALONE, "supervisor"].map((name) => {
      const pids = pidsOf(program, name);
      return { startMethod: program.startMethod, name, pids, before: pids.map(cpuMs) };
    }),
  );
  const began = performance.now();
  await sleep(IDLE_MS);
  const took = performance.now() - began;
  harness.heading(`${Math.round(IDLE_MS / 1000)} s without a request, per instance`);
  const rows = watched.map(({ startMethod, name, pids, before }) => {
    const percents = pids.map((pid, i) => (100 * (cpuMs(pid) - before[i])) / took);
    const memory = pids.map(memoryOf);
    const own = memory.map((each) => each.own / MEBIBYTE);
    const pss = memory.map((each) => each.pss / MEBIBYTE);
    return { startMethod, name, percents, own, pss };
  });
  harness.table(
    ["", "CPU, % of one", "min - max", "private, MiB", "min - max", "Pss, MiB"],
    rows.map(({ startMethod, name, percents, own, pss }) => [
      `${startMethod}, ${name}`,
      percent(median(percents)),
      `${percent(Math.min(...percents))} - ${percent(Math.max(...percents))}`,
      digits(median(own)),
      span(own),
      digits(median(pss)),
    ]),
  );
  harness.heading("targets");
  for (const startMethod of START_METHODS) {
    const [supervised, alone] = [SUPERVISED, ALONE].map((name) =>
      rows.find((row) => row.startMethod === startMethod && row.name === name),
    );
    const more = (field) => median(supervised[field]) - median(alone[field]);
    target(
      `${startMethod}: an idle instance takes less than 0.1 % of a processor more`,
      more("percents"),
      atMost(0.1),
      (value) => `${percent(value)} %`,
    );
    target(
      `${startMethod}: and less than 1 MiB of private memory more`,
      more("own"),
      atMost(1),
      (value) => `${digits(value)} MiB`,
    );
  }
}

function requests({ startMethod, ports }) {
  return [SUPERVISED, ALONE].map((name) => ({
    group: startMethod,
    name,
    run: () => load(ports[name]),
  }));
}

function latency() {
  for (const startMethod of START_METHODS) {
    const results = [SUPERVISED, ALONE].map((name) =>
      figures.get(harness.key({ group: startMethod, name })),
    );
    if (results.some((each) => each === undefined)) continue;
    harness.heading(
      `${startMethod}: ${RATE} requests a second over ${CONNECTIONS} connections, ms`,
    );
    const of = (each, field) => each.map((result) => result[field]);
    harness.table(
      ["", "p50", "p99", "min - max of p99"],
      [SUPERVISED, ALONE].map((name, i) => [
        name,
        digits(median(of(results[i], "p50"))),
        digits(median(of(results[i], "p99"))),
        span(of(results[i], "p99")),
      ]),
    );
    const [supervised, alone] = results.map((each) => of(each, "p99"));
    target(
      `${startMethod}: p99 of supervised instances at most 1.2x that of others`,
      ratio(supervised, alone),
      atMost(1.2),
    );
  }
}

async function warm(port) {
  await load(port);
}

async function load(port) {
  const { default: autocannon } = await import("autocannon");
  const {
    errors,
    non2xx,
    latency: all,
  } = await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections: CONNECTIONS,
    overallRate: RATE,
    duration: SECONDS,
    sampleInt: SAMPLE_MS,
  });
  if (errors + non2xx > 0) throw new Error(`${errors + non2xx} requests failed`);
  // autocannon has whole ms.
  return { p50: Math.max(1, all.p50), p99: Math.max(1, all.p99) };
}

/** Of all threads, as the scheduler counts it: the times in stat are of 10 ms each. */
function cpuMs(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]),
  );
  return nanoseconds.reduce((sum, each) => sum + each) / NANOSECONDS_PER_MS;
}

function memoryOf(pid) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  const bytes = (field) => 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(rollup)[1]);
  return { own: bytes("Private_Clean") + bytes("Private_Dirty"), pss: bytes("Pss") };
}

function percent(value) {
  return value.toFixed(3);
}
