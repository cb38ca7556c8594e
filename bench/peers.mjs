/**
 * The pools of other libraries, created as their documentation says: `run(item)` is one call of a function of
 * workers/jobs.mjs, `close()` ends the pool. A library is loaded when its first pool is created.
 */
import { fileURLToPath } from "node:url";

/**
 * By name, `(job, width, ahead = 1) => Pool`: `width` is the number of processes, `ahead` how many calls each receives at
 * once, if the library has an option for it (jest-worker and workerpool have none, poolifier always sends all).
 */
export const processPools = {
  tinypool: (...args) => tinypool("child_process", ...args),
  "jest-worker": (...args) => jestWorker(false, ...args),
  workerpool: (...args) => workerpool("process", ...args),
  /** Runs only `double` and `busy`; the two below run only `double`. */
  async poolifier(job, width) {
    const { FixedClusterPool } = await import("poolifier");
    const pool = new FixedClusterPool(width, path("poolifier.cjs"));
    return { run: (item) => pool.execute(item, job), close: () => pool.destroy() };
  },
  async "worker-farm"(_job, width, ahead = 1) {
    const { default: workerFarm } = await import("worker-farm");
    const farm = workerFarm(
      { maxConcurrentWorkers: width, maxConcurrentCallsPerWorker: ahead },
      path("worker-farm.cjs"),
    );
    return {
      run: (item) =>
        new Promise((resolve, reject) => {
          farm(item, (error, result) => (error ? reject(error) : resolve(result)));
        }),
      close: () => workerFarm.end(farm),
    };
  },
  async "worker-nodes"(_job, width, ahead = 1) {
    const { default: WorkerNodes } = await import("worker-nodes");
    const nodes = new WorkerNodes(path("double.cjs"), {
      workerType: "process",
      autoStart: true,
      minWorkers: width,
      maxWorkers: width,
      maxTasksPerWorker: ahead,
    });
    await nodes.ready();
    return { run: (item) => nodes.call(item), close: () => nodes.terminate() };
  },
};

export const threadPools = {
  async piscina(job, width, ahead = 1) {
    const { Piscina } = await import("piscina");
    const pool = new Piscina({
      filename: path("jobs.mjs"),
      name: job,
      minThreads: width,
      maxThreads: width,
      concurrentTasksPerWorker: ahead,
    });
    return { run: (item) => pool.run(item), close: () => pool.destroy() };
  },
  tinypool: (...args) => tinypool("worker_threads", ...args),
  workerpool: (...args) => workerpool("thread", ...args),
  "jest-worker": (...args) => jestWorker(true, ...args),
};

async function tinypool(runtime, job, width, ahead = 1) {
  const { Tinypool } = await import("tinypool");
  const pool = new Tinypool({
    filename: path("jobs.mjs"),
    name: job,
    runtime,
    minThreads: width,
    maxThreads: width,
    concurrentTasksPerWorker: ahead,
  });
  return { run: (item) => pool.run(item), close: () => pool.destroy() };
}

async function jestWorker(enableWorkerThreads, job, width) {
  const { Worker } = await import("jest-worker");
  const farm = new Worker(path("jobs.mjs"), {
    enableWorkerThreads,
    exposedMethods: [job],
    numWorkers: width,
  });
  return { run: (item) => farm[job](item), close: () => farm.end() };
}

async function workerpool(workerType, job, width) {
  const { default: library } = await import("workerpool");
  const pool = library.pool(path("jobs-workerpool.mjs"), {
    workerType,
    minWorkers: width,
    maxWorkers: width,
  });
  return { run: (item) => pool.exec(job, [item]), close: () => pool.terminate() };
}

function path(name) {
  return fileURLToPath(new URL(`workers/${name}`, import.meta.url));
}
