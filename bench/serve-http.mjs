/**
 * HTTP servers of several processes: instances of forkmap's containers, node:cluster, and pm2 in cluster mode. The memory of an instance, the time of
 * a restart, requests a second, and how connections spread over instances.
 */
import { readFileSync } from "node:fs";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import * as harness from "./harness.mjs";
import { endPm2, startInPm2, startProgram } from "./serve-http/programs.mjs";

const { atLeast, atMost, median, ratio, target } = harness;
const FORKMAP = "forkmap";
const CLUSTER = "node:cluster";
const NO_SCHEDULE = "node:cluster, SCHED_NONE";
const PM2 = "pm2";
const start = {
  [FORKMAP]: (env) => startProgram("forkmap", env),
  [CLUSTER]: (env) => startProgram("cluster", env),
  [NO_SCHEDULE]: (env) => startProgram("cluster", { ...env, POLICY: "none" }),
  [PM2]: (env, name) => startInPm2(name, env),
};

const DATA = { [`200 MiB of objects`]: "objects", [`200 MiB of buffers`]: "buffers" };
const PART = harness.size("1", "0.05");
const HOLDERS = harness.size(8, 2);
const REQUESTS = harness.size(5000, 200);
/** V8 lets a large heap grow far beyond what is alive before it collects: an app that has run for longer holds more. */
const MORE_REQUESTS = harness.size(40_000, 100);
const FEW = `after ${REQUESTS} requests`;
const MANY = `after ${REQUESTS + MORE_REQUESTS} requests`;
/** All over the data. */
const PATHS = Array.from({ length: 1000 }, (_, i) => ({ path: `/items/${i * 379}` }));
/** Longer than the 8 s after which V8 collects garbage in an idle process: this unshares memory and counts. */
const IDLE_MS = harness.size(10_000, 0);
const FIELDS = ["Private", "Pss", "Rss"];

const RESTART = "restart";
const RESTARTED = 4;
const RESTARTS = {
  "forkmap, blue-green (HUP)": [FORKMAP, "SIGHUP"],
  "forkmap, rolling (USR2)": [FORKMAP, "SIGUSR2"],
  "node:cluster, one after another": [CLUSTER, "SIGUSR2"],
  "node:cluster, all at once": [CLUSTER, "SIGHUP"],
  "pm2 reload": [PM2],
};

const THROUGHPUT = "requests";
const SERVERS = [FORKMAP, CLUSTER, NO_SCHEDULE];
const CONNECTIONS = 50;
const SECONDS = harness.size(2, 0.3);
/** The ms after which autocannon looks whether it is done. */
const SAMPLE_MS = harness.size(1000, 100);

const BALANCE = "balance";
const BALANCED = 4;
const NEW_CONNECTIONS = 64;
const REPEATS = harness.size(20, 2);
const WAYS = {
  "one after another": oneAfterAnother,
  "at once": atOnce,
  "held open, then a request each": heldOpen,
};

harness.introduce("serve-http");
// pm2's daemon outlives its caller; the other programs end with their stdin.
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => void endPm2().finally(() => process.exit(1)));
let figures;
try {
  figures = await harness.race([
    ...Object.keys(DATA).flatMap((group) =>
      [FORKMAP, CLUSTER, PM2].map((name) => memory(group, name)),
    ),
    ...Object.keys(RESTARTS).map(restart),
    ...SERVERS.map(throughput),
    ...SERVERS.map(balance),
  ]);
} finally {
  await endPm2();
}
reportMemory();
reportRestarts();
reportThroughput();
reportBalance();
harness.heading("targets");
judge();
process.exit();

/** A program a turn: its instances answer some requests, are idle for long enough, and are looked at. */
function memory(group, name) {
  const turn = async (count) => {
    const env = { APP: "express", DATA: DATA[group], PART, COUNT: String(count) };
    const server = await start[name](env, `memory-${DATA[group]}`);
    try {
      const held = {};
      for (const [when, amount] of [
        [FEW, REQUESTS],
        [MANY, MORE_REQUESTS],
      ]) {
        const { non2xx, errors } = await load(server.port, { requests: PATHS, amount });
        if (non2xx + errors > 0)
          throw new Error(`${name}: ${non2xx + errors} requests have failed`);
        await sleep(IDLE_MS);
        const each = (await server.pids()).map(smapsRollup);
        held[when] = {
          ...Object.fromEntries(
            FIELDS.map((field) => [field, median(each.map((one) => one[field]))]),
          ),
          Mean: each.reduce((sum, one) => sum + one.Private, 0) / each.length,
          Most: Math.max(...each.map((one) => one.Private)),
        };
      }
      return held;
    } finally {
      await server.stop();
    }
  };
  return { group, name, open: () => probe(name), run: () => turn(HOLDERS) };
}

/** @throws Skip when pm2 is not there */
async function probe(name) {
  if (name !== PM2) return;
  const server = await start[PM2]({ APP: "bare", COUNT: "1" }, "probe");
  await server.stop();
}

function restart(name) {
  const [program, signal] = RESTARTS[name];
  let server;
  return {
    group: RESTART,
    name,
    async open() {
      server = await start[program]({ APP: "express", COUNT: String(RESTARTED) }, "restart");
    },
    warm: () => server.restart(signal),
    async run() {
      const before = new Set(await server.pids());
      const from = performance.now();
      await server.restart(signal);
      const ms = performance.now() - from;
      const after = await server.pids();
      if (after.length !== RESTARTED || after.some((pid) => before.has(pid)))
        throw new Error(
          `${name} has not restarted all: ${[...before].join(" ")}, then ${after.join(" ")}`,
        );
      return ms;
    },
    close: () => server.stop(),
  };
}

function throughput(name) {
  let server;
  return {
    group: THROUGHPUT,
    name,
    async open() {
      server = await start[name]({ APP: "bare", COUNT: "2" });
    },
    warm: () => load(server.port, { duration: SECONDS }),
    async run() {
      const pids = await server.pids();
      const before = cpuTime(pids);
      const { requests, latency, errors, non2xx } = await load(server.port, { duration: SECONDS });
      const cpu = ((cpuTime(pids) - before) * 1000) / requests.total;
      if (errors + non2xx > 0) throw new Error(`${name}: ${errors + non2xx} requests have failed`);
      return { rate: requests.total / SECONDS, p50: latency.p50, p99: latency.p99, cpu };
    },
    close: () => server.stop(),
  };
}

function balance(name) {
  let server;
  return {
    group: BALANCE,
    name,
    async open() {
      server = await start[name]({ APP: "bare", COUNT: String(BALANCED) });
    },
    warm: () => atOnce(server.port),
    async run() {
      const busiest = {};
      for (const [way, connect] of Object.entries(WAYS)) {
        busiest[way] = [];
        for (let i = 0; i < REPEATS; i += 1) {
          const counts = count(await connect(server.port));
          busiest[way].push(Math.max(...counts) / (NEW_CONNECTIONS / BALANCED));
        }
      }
      return busiest;
    },
    close: () => server.stop(),
  };
}

async function load(port, options) {
  const { default: autocannon } = await import("autocannon");
  return await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections: CONNECTIONS,
    sampleInt: SAMPLE_MS,
    ...options,
  });
}

async function oneAfterAnother(port) {
  const pids = [];
  for (let i = 0; i < NEW_CONNECTIONS; i += 1) pids.push(await ask(port, false));
  return pids;
}

async function atOnce(port) {
  return await Promise.all(Array.from({ length: NEW_CONNECTIONS }, () => ask(port, false)));
}

/** As `atOnce`, and all connections stay open until each has had another request. */
async function heldOpen(port) {
  const agents = Array.from(
    { length: NEW_CONNECTIONS },
    () => new http.Agent({ keepAlive: true, maxSockets: 1 }),
  );
  await Promise.all(agents.map((agent) => ask(port, agent)));
  const pids = await Promise.all(agents.map((agent) => ask(port, agent)));
  for (const agent of agents) agent.destroy();
  return pids;
}

/** Resolves with the pid of the process that has answered. */
function ask(port, agent) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: "127.0.0.1", port, agent }, (response) => {
      response.resume();
      response.once("end", () => resolve(response.headers["x-pid"]));
    });
    request.once("error", reject);
  });
}

function count(pids) {
  const counts = new Map();
  for (const pid of pids) counts.set(pid, (counts.get(pid) ?? 0) + 1);
  return [...counts.values()];
}

/** What the main threads of these processes have used, in ms. */
function cpuTime(pids) {
  const each = pids.map((pid) => readFileSync(`/proc/${pid}/schedstat`, "latin1"));
  return each.reduce((sum, text) => sum + Number(text.split(" ")[0]) / 1e6, 0);
}

/** In MiB. */
function smapsRollup(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  const of = (field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)[1]) / 1024;
  return {
    Private: of("Private_Clean") + of("Private_Dirty"),
    Pss: of("Pss"),
    Rss: of("Rss"),
  };
}

function of(group, name, field) {
  const each = figures.get(harness.key({ group, name }));
  return field === undefined ? each : each?.map((figure) => figure[field]);
}

function reportMemory() {
  for (const group of Object.keys(DATA)) {
    const racing = [FORKMAP, CLUSTER, PM2].filter((name) => of(group, name));
    if (racing.length === 0) continue;
    for (const when of [FEW, MANY]) {
      harness.heading(`${group}, ${HOLDERS} instances, ${when}: MiB per instance`);
      const held = (name, field) => of(group, name, when).map((each) => each[field]);
      harness.table(
        [
          "",
          "private, median",
          "mean",
          "most",
          "Pss",
          "Rss",
          `median / ${CLUSTER}`,
          `mean / ${CLUSTER}`,
        ],
        racing.map((name) => [
          name,
          harness.digits(median(held(name, "Private"))),
          harness.digits(median(held(name, "Mean"))),
          harness.digits(median(held(name, "Most"))),
          harness.digits(median(held(name, "Pss"))),
          harness.digits(median(held(name, "Rss"))),
          harness.times(privateRatio(group, name, when)),
          harness.times(privateRatio(group, name, when, "Mean")),
        ]),
      );
    }
  }
}

/** The private memory beside that of node:cluster. */
function privateRatio(group, name, when, field = "Private") {
  const [ours, theirs] = [name, CLUSTER].map((each) =>
    of(group, each, when)?.map((held) => held[field]),
  );
  return ratio(ours, theirs);
}

function reportRestarts() {
  const [ours, , theirs] = Object.keys(RESTARTS);
  const racing = Object.keys(RESTARTS).filter((name) => of(RESTART, name));
  if (racing.length === 0) return;
  harness.heading(`a restart, until all ${RESTARTED} new instances are ready, in ms`);
  harness.table(
    ["", "ms", "min - max", `ms / ${theirs}`, `${ours} / this`],
    racing.map((name) => [
      name,
      harness.digits(median(of(RESTART, name))),
      harness.span(of(RESTART, name)),
      harness.times(ratio(of(RESTART, name), of(RESTART, theirs))),
      harness.times(ratio(of(RESTART, ours), of(RESTART, name))),
    ]),
  );
}

function reportThroughput() {
  const racing = SERVERS.filter((name) => of(THROUGHPUT, name));
  if (racing.length === 0) return;
  harness.heading(`requests a second, keep-alive, ${CONNECTIONS} connections, 2 instances`);
  harness.table(
    [
      "",
      "requests/s",
      "min - max",
      `requests/s / ${CLUSTER}`,
      "p50, ms",
      "p99, ms",
      "CPU a request, us",
    ],
    racing.map((name) => [
      name,
      harness.digits(median(of(THROUGHPUT, name, "rate"))),
      harness.span(of(THROUGHPUT, name, "rate")),
      harness.times(ratio(of(THROUGHPUT, name, "rate"), of(THROUGHPUT, CLUSTER, "rate"))),
      harness.digits(median(of(THROUGHPUT, name, "p50"))),
      harness.digits(median(of(THROUGHPUT, name, "p99"))),
      harness.digits(median(of(THROUGHPUT, name, "cpu"))),
    ]),
  );
}

function reportBalance() {
  const racing = SERVERS.filter((name) => of(BALANCE, name));
  if (racing.length === 0) return;
  harness.heading(
    `${NEW_CONNECTIONS} new connections over ${BALANCED} instances: those of the busiest / the mean`,
  );
  harness.table(
    ["", ...Object.keys(WAYS).flatMap((way) => [way, "worst"])],
    racing.map((name) => [
      name,
      ...Object.keys(WAYS).flatMap((way) => {
        const all = of(BALANCE, name, way).flat();
        return [harness.times(median(all)), harness.times(Math.max(...all))];
      }),
    ]),
  );
}

function judge() {
  for (const group of Object.keys(DATA)) {
    for (const when of [FEW, MANY]) {
      target(
        `${group}, ${when}: private memory of an instance at most a tenth of ${CLUSTER}'s`,
        privateRatio(group, FORKMAP, when),
        atMost(0.1),
      );
    }
  }
  const [ours, , ...others] = Object.keys(RESTARTS);
  for (const other of others) {
    target(
      `from HUP to ${RESTARTED} new instances that are ready: at most a quarter of ${other}`,
      ratio(of(RESTART, ours), of(RESTART, other)),
      atMost(0.25),
    );
  }
  target(
    `at least the requests a second of ${CLUSTER}`,
    ratio(of(THROUGHPUT, FORKMAP, "rate"), of(THROUGHPUT, CLUSTER, "rate")),
    atLeast(1),
  );
  if (!of(BALANCE, FORKMAP)) return;
  for (const way of Object.keys(WAYS)) {
    target(
      `${NEW_CONNECTIONS} connections, ${way}: the busiest of ${BALANCED} has at most 1.5 times the mean`,
      median(of(BALANCE, FORKMAP, way).flat()),
      atMost(1.5),
    );
  }
}
