/**
 * The folder holds the fork server, what decides whether its forks are sound (fork-safety.ts), what repairs a process after
 * a fork (inherited.ts, renew.ts, drawn-bytes.ts), and what makes forks cheap (the heap, huge pages, rehearsal, warm-up).
 * Here the fork server boots: it loads the worker in a process that can be forked, reports the result, and starts to serve.
 *
 * A process can be forked if it has no threads but Node's own, idle: V8 is configured to use none, and libuv creates a
 * new pool after a fork. A fork does not copy threads, so a child would wait for any other thread for ever.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { parse } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import type { Order } from "../../wire/protocol.js";
import { workerName } from "../../worker/current-context.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { isSupervisor } from "../../worker/check-worker.js";
import { definitionOf } from "../../worker/function-worker.js";
import { noticedChange } from "../find/find-worker.js";
import { loadWorker, problemOf, problemOfExit } from "../find/load-worker.js";
import { readLines, send } from "../items/channel.js";
import { endServer, guardRemovals, keepExitListeners } from "../items/exit-listeners.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { takeOverStdio } from "../items/stdio.js";
import { atEnd, type EndHandler, watchExit } from "../items/watch-exit.js";
import { type Libc, loadLibc, SIGKILL } from "../libc.js";
import { judgeDraws, recordDraws } from "./drawn-bytes.js";
import { ForkLoop } from "./fork-loop.js";
import type { ChildModules } from "./forked-child.js";
import { ForkSafety, type ForkVerdict } from "./fork-safety.js";
import type { Inherited } from "./inherited.js";
import { LaterSteps } from "./later-steps.js";
import { letHeapSpread } from "./pack-heap.js";
import { makeRandomRenewable } from "./renew.js";
import { hideV8Threads } from "./v8-threads.js";
import { warmUp, warmUpNetwork, warmUpServer } from "./warm-up.js";
import { ageYoungGeneration, letYoungGenerationGrow } from "./young-generation.js";

/** Threads of a Node process with `--single-threaded --v8-pool-size=1` and nothing else: the same on 20, 22, 24 and 26. */
const NODE_THREADS = 4;
/** A thread with a short task, such as a lookup of certificates, ended within 60 ms. */
const THREAD_PATIENCE_MS = 500;
const THREAD_CHECK_MS = 10;
/** For work still pending once the worker is loaded: a costly scrypt takes 1 s, a lookup without a server some 5 s. */
const PENDING_PATIENCE_MS = 10_000;
/** Checks for open and pending things right before the first fork. */
const MAX_LOOKS = 3;
/** libuv's default (UV_THREADPOOL_SIZE). */
const POOL_THREADS = 4;

/** Taken before a library replaces it (signal-exit). */
const { reallyExit } = process;

await boot().catch((error: unknown) => {
  send({ hello: "failed", problem: problemOf(error) });
  leave();
});

async function boot(): Promise<void> {
  // Before anything else: if this process ended with the parent's lines unread, the parent would lose our messages.
  const [first, ...rest] = firstLines();
  const libc = loadLibcOrGiveUp();
  const order = parse(first) as Extract<Order, { do: "load" }>;
  // A module that loops for ever while it loads never reads the channel: only the kernel can end it with the parent.
  libc.dieWithParent(SIGKILL);
  if (libc.getppid() !== order.parentPid) leave();
  // In children too: user code expects the program as its parent, not the fork server.
  Object.defineProperty(process, "ppid", { get: () => order.parentPid, enumerable: true });

  if (!hideV8Threads(libc))
    giveUp(
      "this build of Node does not export the symbols needed to stop V8 from using threads, which a fork does not copy",
    );
  // Starts libuv's thread pool, whose threads are to be counted. `stat` needs no descriptor, so works if none is free.
  if (!existsSync("/proc/self/task")) giveUp("/proc is not mounted");
  await stat(".");
  // Goes on during what follows, but ends before the worker is loaded, which may drop all microtasks.
  const warmingUp = warmUp().catch(() => {});
  const threadsBefore = countThreads();
  if (threadsBefore > NODE_THREADS + poolThreads())
    giveUp(
      "other threads run before the worker is loaded, perhaps started by a module loader (`--loader`, or tsx on Node 20; " +
        "later versions of Node need no thread for it) or by code that is preloaded into every process",
    );

  watchExit();
  const reportExit: EndHandler = (ending, code) => {
    send({ hello: "failed", problem: problemOfExit(ending, code, order.worker) });
  };
  atEnd(reportExit);
  takeOverStdio(order.readsOutput ? "all" : "pipes");
  try {
    makeRandomRenewable();
    recordDraws();
    guardRemovals();
  } catch (error) {
    giveUp(
      `Math.random and other functions that forked children must not share cannot be replaced (${(error as Error).message})`,
    );
  }

  await warmingUp;
  const safety = new ForkSafety(libc, order.sockets);
  const patience = Math.min(PENDING_PATIENCE_MS, order.startupTimeout / 2);
  let makeLoop: (inherited: Inherited | undefined) => ForkLoop;
  let isForkSafe: boolean;
  try {
    const worker = await compiledWhole(() =>
      loadWorker(order.worker, ({ preload }) => safety.moduleLoaded(preload !== undefined)),
    );
    isForkSafe = declaresForkSafe(worker);
    keepExitListeners();
    await safety.settle(patience);
    // Threads first: the event loop of a thread has descriptors too.
    if (!(await threadsEnd(threadsBefore))) giveUp(startedThreads(order.worker));
    giveUpIfUnfit(await safety.judgeSettled(isForkSafe));
    const secret = judgeDraws();
    if (secret !== undefined && !isForkSafe) giveUp(secret);
    const { readsOutput, worker: source, sockets } = order;
    // An instance lives long enough to warm up by itself, and the first are waited for: only what all of them begin with.
    if (source.isService && sockets > 0) await warmUpServer();
    const steps = source.isService ? [] : await warmUpNetwork(source);
    const later = new LaterSteps(libc, source, readsOutput, steps, () => atEnd(reportExit));
    const modules = await loadModules(worker, source);
    // These live long enough to collect, and each would make its own copy of all that is young by then: 1 to 2 MiB.
    if (source.isService || source.supervision) ageYoungGeneration();
    makeLoop = (inherited) =>
      new ForkLoop(libc, worker, source, inherited, later, modules, endServer);
    await safety.settle(patience);
  } catch (error) {
    send({ hello: "failed", problem: problemOf(error) });
    leave();
  }
  serveFromBottom(MAX_LOOKS);

  /**
   * Forks from the bottom of the stack, outside of any microtask, so that a child can run its own microtasks and then
   * return to the event loop.
   */
  function serveFromBottom(looks: number): void {
    setImmediate(() => {
      if (countThreads() > threadsBefore) giveUp(startedThreads(order.worker));
      const verdict = safety.judge(isForkSafe);
      if (verdict.obstacle !== undefined && looks > 1) {
        // A timer of the worker may have started it since the last check; most such work ends soon.
        void safety.settle(patience).then(() => serveFromBottom(looks - 1));
        return;
      }
      giveUpIfUnfit(verdict);
      waitUntilThreadsSleep();
      safety.stop();
      letYoungGenerationGrow();
      letHeapSpread(libc);
      libc.dieWithParent(0);
      send({ hello: "ready", change: noticedChange() });
      makeLoop(verdict.inherited).serve(rest);
    });
  }
}

/** Loads, before the first fork, what every child would have to load. */
async function loadModules(
  worker: LoadedWorker,
  { isService, supervision }: WorkerSource,
): Promise<ChildModules> {
  const services = isService
    ? {
        ...(await import("../service/run-service.js")),
        ...(await import("../service/shared-sockets.js")),
      }
    : undefined;
  if (!supervision || isSupervisor(worker)) return { services };
  const { supervise } = await import("../supervised/supervise.js");
  const { prepareInterrupts } = await import("../supervised/interrupts.js");
  prepareInterrupts();
  return { services, supervise };
}

function startedThreads(source: WorkerSource): string {
  return `the module or \`preload\` of ${workerName(source)} has started threads, which a fork does not copy`;
}

function giveUpIfUnfit({ obstacle }: ForkVerdict): void {
  if (obstacle !== undefined) giveUp(obstacle);
}

function declaresForkSafe(worker: LoadedWorker): boolean {
  return definitionOf(worker).forkSafe === true;
}

/**
 * Makes V8 compile every function that `load` loads, not only those that run. Each child would otherwise compile them
 * itself, for some 45 page faults. Not for all of Node, which would cost 1 MiB.
 */
async function compiledWhole<T>(load: () => Promise<T>): Promise<T> {
  setFlagsFromString("--no-lazy");
  try {
    return await load();
  } finally {
    setFlagsFromString("--lazy");
  }
}

function loadLibcOrGiveUp(): Libc {
  try {
    return loadLibc();
  } catch (error) {
    const { message } = error as Error;
    return giveUp(`the optional dependency koffi could not be loaded: ${message.split("\n")[0]}`);
  }
}

function giveUp(reason: string): never {
  send({ hello: "unfit", reason });
  return leave();
}

/** Ends the process without `process.exit`, which would run the worker's exit listeners. */
function leave(): never {
  return Reflect.apply(reallyExit, process, [0]);
}

function firstLines(): [string, ...string[]] {
  for (;;) {
    const lines = readLines();
    if (!lines) leave();
    if (lines.length > 0) return lines as [string, ...string[]];
  }
}

/** Whether there are no more threads than before. Waits a moment for threads with a short task to end. */
async function threadsEnd(before: number): Promise<boolean> {
  for (let waited = 0; countThreads() > before; waited += THREAD_CHECK_MS) {
    if (waited > THREAD_PATIENCE_MS) return false;
    await sleep(THREAD_CHECK_MS);
  }
  return true;
}

function countThreads(): number {
  return readdirSync("/proc/self/task").length;
}

/** A running thread may hold a lock, which would never be released in a child. Threads get no new work by now. */
function waitUntilThreadsSleep(): void {
  const start = monotonic();
  const others = readdirSync("/proc/self/task").filter((task) => Number(task) !== process.pid);
  while (others.some(isAwake) && monotonic() - start < THREAD_PATIENCE_MS);
}

function isAwake(task: string): boolean {
  try {
    const stat = readFileSync(`/proc/self/task/${task}/stat`, "latin1");
    return stat[stat.lastIndexOf(")") + 2] !== "S";
  } catch {
    // The thread has just ended, or no descriptor is free to read its state.
    return false;
  }
}

function poolThreads(): number {
  return Number(process.env["UV_THREADPOOL_SIZE"]) || POOL_THREADS;
}
