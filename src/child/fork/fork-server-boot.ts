/**
 * How the fork server boots: loads the worker in a process that is fit to be forked, says whether it worked, and serves.
 *
 * Fit means: no thread whose work a child would miss. Node's own idle ones do no harm (V8 is told to use none, libuv
 * makes its pool anew after a fork); any other would leave a child waiting for ever.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { monotonic } from "../../system/monotonic.js";
import type { Order } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { AnyWorker } from "../../worker/worker.js";
import { readLines, send } from "../items/channel.js";
import { judgeDraws, recordDraws } from "./drawn-bytes.js";
import { ExitListeners, guardRemovals } from "../items/exit-listeners.js";
import { ForkLoop } from "./fork-loop.js";
import { ForkSafety, type ForkVerdict } from "./fork-safety.js";
import { HugePages } from "./huge-pages.js";
import type { Inherited } from "./inherited.js";
import { type Libc, loadLibc, SIGKILL } from "../libc.js";
import { loadWorker, problemOf, problemOfExit } from "../find/load-worker.js";
import { packCHeap } from "./pack-c-heap.js";
import { letHeapSpread } from "./pack-heap.js";
import { makeRandomRenewable } from "./renew.js";
import { rehearse } from "./rehearse.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { warmUp } from "./warm-up.js";
import { takeOverStdio } from "../items/stdio.js";
import { hideV8Threads } from "./v8-threads.js";
import { atEnd, type EndHandler, watchExit } from "../items/watch-exit.js";
import { afterFork, letYoungGenerationGrow } from "./young-generation.js";
import { parse } from "../../system/json.js";

/** Threads of a Node process with `--single-threaded --v8-pool-size=1` and nothing else: the same on 20, 22, 24 and 26. */
const NODE_THREADS = 4;
/** A look-up of certificates or the like ended within 60 ms. */
const THREAD_PATIENCE_MS = 500;
const THREAD_CHECK_MS = 10;
/** For what is under way once the worker is loaded: a costly scrypt takes a second, a look-up without a server some five. */
const PENDING_PATIENCE_MS = 10_000;
/** At what is open and under way right before the first fork. */
const MAX_LOOKS = 3;
/** libuv's default (UV_THREADPOOL_SIZE). */
const POOL_THREADS = 4;

/** Before anybody takes it for his own use (signal-exit). */
const { reallyExit } = process;

await boot().catch((error: unknown) => {
  send({ hello: "failed", problem: problemOf(error) });
  leave();
});

async function boot(): Promise<void> {
  // First of all: the parent loses what we say to it if its own words find nobody to read them.
  const [first, ...rest] = firstLines();
  const libc = loadLibcOrGiveUp();
  const order = parse(first) as Extract<Order, { do: "load" }>;
  // A module that loops for ever while it loads never reads the channel: only the kernel can tell it that we are gone.
  libc.dieWithParent(SIGKILL);
  if (libc.getppid() !== order.parentPid) leave();
  // Also to children, whose parent this process is: it is the program that they know.
  Object.defineProperty(process, "ppid", { get: () => order.parentPid, enumerable: true });

  if (!hideV8Threads(libc))
    giveUp(
      "this build of Node does not tell how to keep V8 from using threads, which forked children do not have",
    );
  // `stat` needs no descriptor: it does not fail for want of one.
  if (!existsSync("/proc/self/task")) giveUp("/proc is not mounted");
  await stat(".");
  const threadsBefore = countThreads();
  if (threadsBefore > NODE_THREADS + poolThreads())
    giveUp(
      "there are threads before the worker is loaded, perhaps of a module loader (`--loader`, or tsx on Node 20: " +
        "later versions of Node need none) or of what is preloaded into every process",
    );

  watchExit();
  const tellOfEnd: EndHandler = (ending, code) => {
    send({ hello: "failed", problem: problemOfExit(ending, code, order.worker) });
  };
  atEnd(tellOfEnd);
  takeOverStdio(order.readsOutput ? "all" : "pipes");
  try {
    makeRandomRenewable();
    recordDraws();
    guardRemovals();
  } catch (error) {
    giveUp(`what a child must not share cannot be replaced (${(error as Error).message})`);
  }

  const safety = new ForkSafety(libc);
  const patience = Math.min(PENDING_PATIENCE_MS, order.startupTimeout / 2);
  let makeLoop: (inherited: Inherited | undefined) => ForkLoop;
  let isForkSafe: boolean;
  let exitListeners: ExitListeners;
  try {
    const worker = await compiledWhole(() =>
      loadWorker(order.worker, ({ preload }) => safety.moduleLoaded(preload !== undefined)),
    );
    isForkSafe = declaresForkSafe(worker);
    exitListeners = new ExitListeners();
    await safety.settle(patience);
    // Before all else: its event loop has descriptors, too.
    if (!(await threadsEnd(threadsBefore))) giveUp(startedThreads(order.worker));
    giveUpIfUnfit(await safety.judgeSettled(isForkSafe));
    const secret = judgeDraws();
    if (secret !== undefined && !isForkSafe) giveUp(secret);
    await warmUp(order.worker);
    const hugePages = await HugePages.preparedBy(libc, () =>
      rehearse(libc, order.worker, order.readsOutput),
    );
    atEnd(tellOfEnd);
    const onFork = () => {
      hugePages.onFork();
      afterFork();
    };
    makeLoop = (inherited) =>
      new ForkLoop(libc, worker, order.worker, inherited, onFork, exitListeners.endServer);
    await safety.settle(patience);
  } catch (error) {
    send({ hello: "failed", problem: problemOf(error) });
    leave();
  }
  serveFromBottom(MAX_LOOKS);

  /**
   * From the bottom of the stack, outside of any microtask: a child returns to the event loop from there, and can run its
   * microtasks before it does.
   */
  function serveFromBottom(looks: number): void {
    setImmediate(() => {
      if (countThreads() > threadsBefore) giveUp(startedThreads(order.worker));
      const verdict = safety.judge(isForkSafe);
      if (verdict.obstacle !== undefined && looks > 1) {
        // Begun since the last look, by a timer of the worker's: most of what is begun ends.
        void safety.settle(patience).then(() => serveFromBottom(looks - 1));
        return;
      }
      giveUpIfUnfit(verdict);
      waitUntilThreadsSleep();
      safety.stop();
      exitListeners.restore();
      letYoungGenerationGrow();
      letHeapSpread(libc);
      packCHeap(libc);
      libc.dieWithParent(0);
      send({ hello: "ready" });
      makeLoop(verdict.inherited).serve(rest);
    });
  }
}

function startedThreads({ name }: WorkerSource): string {
  return `the module of ${name} has started threads`;
}

function giveUpIfUnfit({ obstacle }: ForkVerdict): void {
  if (obstacle !== undefined) giveUp(obstacle);
}

function declaresForkSafe(worker: LoadedWorker): boolean {
  return (worker.constructor as typeof AnyWorker).forkSafe === true;
}

/**
 * Has V8 compile every function of what is loaded meanwhile, not only those that run: what the fork server has not
 * compiled, every child does, at the price of some 45 page faults. Not for all of Node, which would cost 1 MiB.
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

/** Not by `process.exit`: all has been said, and what runs on exit is the worker's business. */
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

/** Whether there are no more threads than before; one that only did a moment's work is given that moment. */
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

/** One at work may hold a lock, which in a child nobody would ever let go. They are given nothing more to do. */
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
    // It has just ended, or there is no descriptor to look at it.
    return false;
  }
}

function poolThreads(): number {
  return Number(process.env["UV_THREADPOOL_SIZE"]) || POOL_THREADS;
}
