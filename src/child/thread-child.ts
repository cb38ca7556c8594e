/**
 * Entry of a thread: loads the worker, reports that it is ready, and runs its one item or serves items until there are
 * no more. A thread has its own heap and globals; `process.exit` ends only the thread, not its process.
 */
import { getHeapStatistics } from "node:v8";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { parse } from "../system/json.js";
import {
  type FromThread,
  type ThreadData,
  ThreadHold,
  type ThreadMail,
  type ToThread,
} from "../wire/protocol.js";
import { workerName } from "../worker/current-context.js";
import { noticedChange } from "./find/find-worker.js";
import { loadWorker, problemOf, problemOfExit } from "./find/load-worker.js";
import { ledgerInFile } from "./items/ledger-file.js";
import { LedgerWriter } from "./items/ledger-writer.js";
import { OverflowFileWriter, OverflowPoster } from "./items/overflow.js";
import { reportRejectionsSoon } from "./items/process-child.js";
import type { LoadedWorker } from "./items/runner-events.js";
import { Runner } from "./items/runner.js";
import { takeOverThreadStdio } from "./items/stdio.js";
import { atEnd, watchExit } from "./items/watch-exit.js";
import type { ServiceRunner } from "./service/run-service.js";

const { source, request, memory, heeds } = workerData as ThreadData;
const { id, start } = request;
const port = parentPort as MessagePort;
let runner: Runner | undefined;
let service: ServiceRunner | undefined;
let isDone = false;

// In a child process, output must not pass through the main thread: the process ends by `_exit`, which would lose it.
if (!memory) takeOverThreadStdio();
watchExit();
atEnd((ending, code) => {
  if (service) return service.cutShort(ending);
  if (!runner) say({ hello: "failed", problem: problemOfExit(ending, code, source) });
  else if (!isDone) runner.notes.cutShort(ending);
});

if (start.service) await beInstance();
else await serveItems();

async function beInstance(): Promise<void> {
  const [{ ServiceRunner }, { SharedSockets }] = await Promise.all([
    import("./service/run-service.js"),
    import("./service/shared-sockets.js"),
  ]);
  const sockets = new SharedSockets(true);
  if (Object.keys(start.service!.sockets).length > 0) await sockets.load(unterminated);
  let interruptService: (() => void) | undefined;
  service = new ServiceRunner(await load(), source, "thread", start, {
    say,
    onInterrupt(interrupt) {
      interruptService = interrupt;
      onInterrupt();
    },
    duplicate: (fd) => sockets.duplicate(fd),
    map: (file) => sockets.map(file),
    leave: (code) => process.exit(code),
  });
  port.on("message", ({ line }: ThreadMail) => {
    const message = parse(line) as ToThread;
    if (!("do" in message)) return;
    if (message.do === "stop") service!.follow(message);
    else if (message.do === "interrupt") interruptService?.();
  });
  say({ hello: "ready", change: noticedChange() });
  await service.run();
}

async function serveItems(): Promise<void> {
  const place = memory ? { buffer: memory.ledger, offset: 0 } : await ledgerInFile(start);
  const worker = await load();
  const ledger = new LedgerWriter(place, start.shape);
  const { context, serialization } = source;
  runner = new Runner(
    worker,
    start,
    { kind: "thread", name: workerName(source), context, serialization, heldMemory },
    ledger,
    memory ? new OverflowPoster(memory.mail) : new OverflowFileWriter(start, ledger),
    {
      say,
      busy,
      onInterrupt,
      ...(start.payload ? { reportRejections: reportRejectionsSoon } : {}),
      done,
    },
  );
  port.on("message", (message: ThreadMail) => follow(message));
  say({ hello: "ready", change: noticedChange() });
  if (start.payload) {
    busy(true);
    runner.run(id, start.payload);
  }
}

async function load(): Promise<LoadedWorker> {
  try {
    return await loadWorker(source);
  } catch (error) {
    say({ hello: "failed", problem: problemOf(error) });
    return process.reallyExit(1);
  }
}

function follow({ line, encoded }: ThreadMail): void {
  const message = parse(line) as ToThread;
  if ("payload" in message) {
    runner!.run(message.id, encoded ? { ...message.payload, encoded } : message.payload);
  } else if (message.do === "interrupt") {
    runner!.interrupt();
  } else if (message.do === "end") {
    runner!.end();
  }
}

function say(message: FromThread): void {
  port.postMessage(message);
}

/** From now on the thread is asked to end, and not terminated at once. */
function onInterrupt(): void {
  Atomics.store(heeds, 0, 1);
}

/** Does what must not be cut short by the end of this thread. @throws Error when that has been asked for */
function unterminated<T>(work: () => T): T {
  const { word, free, held, ended } = ThreadHold;
  if (Atomics.compareExchange(heeds, word, free, held) === ended)
    throw new Error("This thread is being ended");
  try {
    return work();
  } finally {
    Atomics.store(heeds, word, free);
  }
}

/** While an item runs, the port does not keep the event loop alive; item-channel.ts says why. */
function busy(isBusy: boolean): void {
  if (isBusy) port.unref();
  else port.ref();
}

function done(): void {
  isDone = true;
  process.exit();
}

/** Returns the bytes that this thread alone holds. */
function heldMemory(): number {
  const { total_physical_size: heap, external_memory: buffers } = getHeapStatistics();
  return heap + buffers;
}
