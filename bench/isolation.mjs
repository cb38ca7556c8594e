/** What a fresh process per item costs: 200 items, two at a time, four kinds of work. */
import { execFile, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker as Thread } from "node:worker_threads";
import { Parallel } from "forkmap";
import { Worker as JestWorker } from "jest-worker";
import { Tinypool } from "tinypool";
import workerpool from "workerpool";
import * as harness from "./harness.mjs";
import { rawFork } from "./raw-fork.mjs";
import { Work } from "./workers/forkmap.mjs";
import { Fetch, FetchReady } from "./workers/forkmap-network.mjs";
import { expected } from "./workers/work.mjs";

const { atLeast, atMost, expectSame, inParallel, ratio, Skip, target } = harness;
const WIDTH = 2;
const COUNT = harness.size(200, 2);
const WARM_UP_COUNT = harness.size(20, 1);
/** Number of items used to prove that each has a process (or thread) of its own. */
const IDENTITY_COUNT = harness.size(12, 2);
const KINDS = Object.keys(expected);
const FIRST = "returns at once";
const FETCH = "loopback fetch";
const run = promisify(execFile);

/** Node contenders: `map(kind, items)` runs the shared functions. */
const nodePeers = {
  "forkmap fork": (kind) => forkmap(kind === FETCH ? Fetch : Work, "fork"),
  "forkmap fork, fetch loaded in preload": () => forkmap(FetchReady, "fork"),
  "forkmap spawn": () => forkmap(Work, "spawn"),
  "child_process.fork": () => ({
    map: (kind, items) => each(items, (item) => rawFork(kind, item)),
  }),
  "tinypool, isolateWorkers": () => {
    const filename = path("tinypool.mjs");
    const pool = new Tinypool({
      filename,
      runtime: "child_process",
      isolateWorkers: true,
      // Unlike child_process.fork, tinypool does not pass on process.env by itself.
      env: process.env,
      minThreads: WIDTH,
      maxThreads: WIDTH,
    });
    return {
      map: (kind, items) => Promise.all(items.map((item) => pool.run({ kind, item }))),
      close: () => pool.destroy(),
    };
  },
  "jest-worker, idleMemoryLimit 0": () => {
    // jest-worker's documented special case: a limit of 0 restarts the process after every item.
    const farm = new JestWorker(path("jest-worker.mjs"), {
      numWorkers: WIDTH,
      exposedMethods: ["run"],
      idleMemoryLimit: 0,
    });
    return {
      map: (kind, items) => Promise.all(items.map((item) => farm.run(kind, item))),
      close: () => farm.end(),
    };
  },
  "workerpool, a pool per item": () => ({
    // workerpool has no option that replaces a worker after an item: a pool of one process per item comes closest.
    map: (kind, items) =>
      each(items, async (item) => {
        const pool = workerpool.pool(path("workerpool.mjs"), {
          workerType: "process",
          maxWorkers: 1,
        });
        const result = await pool.exec("run", [kind, item]);
        await pool.terminate();
        return result;
      }),
  }),
  "worker_threads, a thread per item": () => ({
    map: (kind, items) =>
      each(items, async (item) => {
        const thread = new Thread(path("thread.mjs"), { workerData: { kind, item } });
        const gone = once(thread, "exit");
        const [result] = await once(thread, "message");
        await gone;
        return result;
      }),
  }),
};

/** Contenders other than Node libraries: the system, other languages and programs, with an item that returns at once. */
const otherPrograms = {
  "/bin/true, stdio ignore": () => spawnTrue("ignore"),
  "/bin/true, stdio pipe": () => spawnTrue("pipe"),
  "Ruby parallel, isolation": () =>
    program("ruby", ["-e", 'require "parallel"'], [path("map.rb"), String(COUNT)]),
  "Python multiprocessing, maxtasksperchild 1": () =>
    program("python3", ["-c", "import multiprocessing"], [path("map.py"), String(COUNT)]),
  "GNU parallel -j2 echo": () => gnuParallel(),
};

const server = fork(path("http-server.mjs"));
[process.env.BENCH_URL] = await once(server, "message");

harness.introduce("isolation");
const contenders = KINDS.flatMap((kind) => [
  ...(kind === FIRST
    ? Object.entries(otherPrograms).map(([name, make]) => ({ group: kind, name, ...make() }))
    : []),
  ...Object.entries(nodePeers)
    .filter(([name]) => kind === FETCH || !name.includes("fetch loaded"))
    .map(([name, make]) => nodeContender(kind, name, make)),
]);
const figures = await harness.race(contenders);
server.disconnect();
report();

function nodeContender(kind, name, make) {
  let peer;
  return {
    group: kind,
    name,
    open: () => (peer = make(kind)),
    async warm() {
      const seen = await peer.map("identity", numbers(IDENTITY_COUNT));
      if (new Set(seen).size !== seen.length)
        throw new Error(`${name} gave two items one process: ${seen}`);
      await peer.map(kind, numbers(WARM_UP_COUNT));
    },
    async run() {
      const results = await peer.map(kind, numbers(COUNT));
      expectSame(results, numbers(COUNT).map(expected[kind]), name);
    },
    close: () => peer.close?.(),
  };
}

/** One `Parallel` per kind of work, because its worker sets the kind; kept between rounds, so its fork server is warm. */
function forkmap(Type, startMethod) {
  const parallels = new Map();
  const parallelFor = (kind) => {
    if (!parallels.has(kind)) {
      const worker = Object.assign(new Type(), { kind });
      parallels.set(kind, new Parallel(worker, { startMethod, concurrency: WIDTH }));
    }
    return parallels.get(kind);
  };
  return {
    async map(kind, items) {
      const results = await parallelFor(kind).mapProcesses(items);
      if (kind === "identity") {
        await parallelFor(kind).close();
        parallels.delete(kind);
      }
      return results;
    },
    close: () => Promise.all([...parallels.values()].map((parallel) => parallel.close())),
  };
}

function spawnTrue(stdio) {
  return {
    async run() {
      await inParallel(COUNT, WIDTH, async () => {
        const [code] = await once(spawn("/bin/true", { stdio }), "close");
        if (code !== 0) throw new Error(`/bin/true ended with ${code}`);
      });
    },
  };
}

/** A program that measures itself and prints its ms. */
function program(command, probe, args) {
  return {
    open: () => orSkip(run(command, probe), `${command} cannot run \`${probe.at(-1)}\``),
    async run() {
      const { stdout } = await run(command, args);
      return Number(stdout);
    },
  };
}

/** GNU parallel, timed from outside with its own start, because it is only available as a command. */
function gnuParallel() {
  return {
    async open() {
      const { stdout } = await orSkip(run("parallel", ["--version"]), "parallel is not installed");
      if (!stdout.startsWith("GNU parallel")) throw new Skip("the installed parallel is not GNU's");
    },
    async run() {
      const { stdout } = await run("parallel", [
        "-j2",
        "echo",
        ":::",
        ...numbers(COUNT).map(String),
      ]);
      // GNU parallel prints results in the order of completion.
      const lines = stdout.trim().split("\n").map(Number);
      expectSame(
        lines.toSorted((a, b) => a - b),
        numbers(COUNT),
        "GNU parallel",
      );
    },
  };
}

async function orSkip(promise, reason) {
  try {
    return await promise;
  } catch {
    throw new Skip(reason);
  }
}

function each(items, run) {
  return inParallel(items.length, WIDTH, (index) => run(items[index]));
}

function numbers(count) {
  return Array.from({ length: count }, (_, i) => i);
}

function path(name) {
  return fileURLToPath(new URL(`workers/${name}`, import.meta.url));
}

function report() {
  const floor = of(FIRST, "/bin/true, stdio ignore");
  for (const kind of KINDS) {
    const racing = contenders.filter((each) => each.group === kind && of(kind, each.name));
    if (racing.length === 0) continue;
    harness.heading(`${COUNT} items, a fresh process each, ${WIDTH} at a time: ${kind}`);
    harness.table(
      [
        "",
        "ms per item",
        "min - max",
        "items/s",
        "time / spawning /bin/true",
        "items/s / child_process.fork",
      ],
      racing.map(({ name }) => {
        const perItem = of(kind, name).map((ms) => ms / COUNT);
        return [
          name,
          harness.digits(harness.median(perItem)),
          harness.span(perItem),
          harness.digits(1000 / harness.median(perItem)),
          harness.times(ratio(of(kind, name), floor)),
          harness.times(ratio(of(kind, "child_process.fork"), of(kind, name))),
        ];
      }),
    );
  }

  harness.heading("targets");
  const fork = (kind) => of(kind, "forkmap fork");
  const rawTo = (kind, name = "forkmap fork") =>
    ratio(of(kind, "child_process.fork"), of(kind, name));
  target(
    "returns at once: at least 15x the items/s of child_process.fork",
    rawTo(FIRST),
    atLeast(15),
  );
  target(
    "returns at once: at most 1.15x the time of spawning /bin/true",
    ratio(fork(FIRST), floor),
    atMost(1.15),
  );
  const [, asynchronous, timer] = KINDS;
  target(
    `${asynchronous}: at most 1.15x the time of returning at once`,
    ratio(fork(asynchronous), fork(FIRST)),
    atMost(1.15),
  );
  target(
    `${timer}: at most 2x the time of returning at once`,
    ratio(fork(timer), fork(FIRST)),
    atMost(2),
  );
  target(`${FETCH}: at least 6x the items/s of child_process.fork`, rawTo(FETCH), atLeast(6));
  target(
    `${FETCH}, loaded in preload: at least 6x the items/s of child_process.fork`,
    rawTo(FETCH, "forkmap fork, fetch loaded in preload"),
    atLeast(6),
  );
  for (const name of Object.keys(otherPrograms).filter((each) => !each.startsWith("/bin/true"))) {
    target(
      `returns at once: faster per item than ${name} (its time / ours)`,
      ratio(of(FIRST, name), fork(FIRST)),
      (value) => value > 1,
    );
  }
}

/** The ms of each round. */
function of(kind, name) {
  return figures.get(harness.key({ group: kind, name }));
}
