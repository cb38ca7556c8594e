/** A program that has just started: times its first calls of one contender and prints them as JSON. */
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const KIND = "returns at once";
const LATER_CALLS = 10;

/** Modules that a program imports at its top are loaded before the clock starts. */
const contenders = {
  async "forkmap fork"() {
    return await forkmap("fork");
  },
  async "forkmap spawn"() {
    return await forkmap("spawn");
  },
  async "child_process.fork"() {
    const { rawFork } = await import("../raw-fork.mjs");
    return () => ({ call: (item) => rawFork(KIND, item), close: () => {} });
  },
  async "tinypool, isolateWorkers"() {
    const { Tinypool } = await import("tinypool");
    const filename = fileURLToPath(new URL("tinypool.mjs", import.meta.url));
    return () => {
      const pool = new Tinypool({
        filename,
        runtime: "child_process",
        isolateWorkers: true,
        minThreads: 1,
        maxThreads: 1,
      });
      return { call: (item) => pool.run({ kind: KIND, item }), close: () => pool.destroy() };
    };
  },
  async worker_threads() {
    const { Worker } = await import("node:worker_threads");
    return () => ({
      async call(item) {
        const thread = new Worker(new URL("thread.mjs", import.meta.url), {
          workerData: { kind: KIND, item },
        });
        const gone = once(thread, "exit");
        const [result] = await once(thread, "message");
        await gone;
        return result;
      },
      close: () => {},
    });
  },
};

const make = await contenders[process.argv[2]]();
const start = performance.now();
const peer = make();
const first = await timed(start);
const second = await timed();
const later = [];
for (let i = 0; i < LATER_CALLS; i += 1) later.push(await timed());
await peer.close();
later.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    first,
    second,
    later: (later[LATER_CALLS / 2 - 1] + later[LATER_CALLS / 2]) / 2,
  }),
);

async function timed(since = performance.now()) {
  const result = await peer.call(7);
  const ms = performance.now() - since;
  if (result !== "7") throw new Error(`wrong result: ${result}`);
  return ms;
}

async function forkmap(startMethod) {
  const { Parallel } = await import("forkmap");
  const { Work } = await import("./forkmap.mjs");
  return () => {
    const parallel = new Parallel(Object.assign(new Work(), { kind: KIND }), { startMethod });
    return {
      async call(item) {
        const [result] = await parallel.mapProcesses([item]);
        return result;
      },
      close: () => parallel.close(),
    };
  };
}
