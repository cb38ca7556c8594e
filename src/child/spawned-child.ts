/**
 * Entry of a spawned child: reads which worker to load and its start from the channel, loads the worker, runs its one item
 * or serves items until there are no more, and exits. It reads before it loads any user code: by then the parent has
 * registered the child with the reaper. Modules that only some children need are imported on demand, as each takes half
 * a ms, but before user code could interfere.
 */
import type { Limits } from "../options.js";
import { parse } from "../system/json.js";
import { CHANNEL_FD, type Payload, type SpawnedLoad, type StartRequest } from "../wire/protocol.js";
import { isSupervisor } from "../worker/check-worker.js";
import { workerName } from "../worker/current-context.js";
import { LoadFailure } from "./find/load-failure.js";
import { noticedChange } from "./find/find-worker.js";
import { loadWorker, problemOf, problemOfExit } from "./find/load-worker.js";
import { readLines, send } from "./items/channel.js";
import type { ItemChannel } from "./items/item-channel.js";
import { ledgerInFile } from "./items/ledger-file.js";
import { type LedgerMemory, LedgerWriter } from "./items/ledger-writer.js";
import type { Notes } from "./items/notes.js";
import type { OutputMarks } from "./items/output-marks.js";
import { OverflowFileWriter } from "./items/overflow.js";
import {
  eventsAlone,
  eventsThrough,
  hostThreads,
  linkThrough,
  titleOf,
} from "./items/process-child.js";
import type { LoadedWorker, RunnerEvents } from "./items/runner-events.js";
import { Runner } from "./items/runner.js";
import { type Supervised, supervisedRunner } from "./items/supervised.js";
import { takeOverStdio } from "./items/stdio.js";
import { atEnd, watchExit } from "./items/watch-exit.js";
import type { Libc } from "./libc.js";
import type { ServiceRunner } from "./service/run-service.js";

const [{ worker: source, kind }, { id, start }] = readAll();
const name = workerName(source);
let notes: Notes | undefined;
let isDone = false;
let isHosting = false;
let service: ServiceRunner | undefined;

process.title = titleOf(name, start);
takeOverStdio(start.mark === undefined ? "pipes" : "all");
watchExit();
atEnd((ending, code) => {
  if (isHosting) return;
  if (service) return service.cutShort(ending);
  if (!notes) send({ hello: "failed", problem: problemOfExit(ending, code, source) });
  else if (!isDone) notes.cutShort(ending);
  if (start.payload) sendUsage();
});

if (start.isHost) await orFail(host);
else if (start.service) await beInstance();
else if (start.payload) await runOne(start.payload);
else await serve();

/** Runs the one item that came with the start; the exit of the process signals that the item is done. */
async function runOne(payload: Payload): Promise<void> {
  const ledger = await ledgerInFile(start);
  const worker = await orFail(() => loadWorker(source));
  const runner = runnerWith(worker, ledger, eventsAlone(done));
  send({ hello: "ready", change: noticedChange() });
  runner.run(id, payload);
}

/** Receives items through the channel until there are no more. */
async function serve(): Promise<void> {
  const ledger = await ledgerInFile(start);
  const marks = await outputMarks();
  const openChannel = await channelOpener();
  const worker = await orFail(() => loadWorker(source));
  const channel = openChannel();
  const runner = runnerWith(worker, ledger, eventsThrough(channel, marks, done));
  await introduce(worker, supervisedRunner(runner));
  channel.serve(runner);
  channel.say({ hello: "ready", change: noticedChange() });
}

async function host(): Promise<void> {
  const channel = (await channelOpener())();
  const frame = { kind, num: start.num, name };
  isHosting = true;
  await hostThreads(channel, source, frame, () => process.exit());
  channel.say({ hello: "ready", change: noticedChange() });
}

async function beInstance(): Promise<void> {
  const [openChannel, { ServiceRunner }, { SharedSockets }] = await Promise.all([
    channelOpener(),
    import("./service/run-service.js"),
    import("./service/shared-sockets.js"),
  ]);
  const sockets = await new SharedSockets(false).load();
  const worker = await orFail(() => loadWorker(source));
  const channel = openChannel();
  const link = linkThrough(channel, sockets, (code) => process.exit(code));
  service = new ServiceRunner(worker, source, kind, start, link);
  await introduce(worker, service.supervised);
  channel.serve(service);
  channel.say({ hello: "ready", change: noticedChange() });
  await service.run();
}

async function introduce(worker: LoadedWorker, child: Supervised): Promise<void> {
  const { supervision } = source;
  if (!supervision || isSupervisor(worker)) return;
  const [{ supervise }, libc] = await Promise.all([
    import("./supervised/supervise.js"),
    libcIfAny(),
  ]);
  const { num, generation, service } = start;
  const title = { num, generation, name: service?.name ?? name, kind };
  process.once("exit", supervise(supervision, title, child, libc));
}

async function channelOpener(): Promise<() => ItemChannel> {
  const [{ Socket }, { ItemChannel }] = await Promise.all([
    import("node:net"),
    import("./items/item-channel.js"),
  ]);
  return () => new ItemChannel(new Socket({ fd: CHANNEL_FD }), () => process.reallyExit(0));
}

async function outputMarks(): Promise<OutputMarks | undefined> {
  if (start.mark === undefined) return undefined;
  const { OutputMarks } = await import("./items/output-marks.js");
  return new OutputMarks(start.mark);
}

function runnerWith(worker: LoadedWorker, ledger: LedgerMemory, events: RunnerEvents): Runner {
  const { context, serialization } = source;
  const around = { kind, name, context, serialization };
  const writer = new LedgerWriter(ledger, start.shape);
  const overflow = new OverflowFileWriter(start, writer);
  const runner = new Runner(worker, start, around, writer, overflow, events);
  notes = runner.notes;
  return runner;
}

function done(): void {
  isDone = true;
  process.exit();
}

async function orFail<T>(make: () => Promise<T>): Promise<T> {
  try {
    if (start.limits) await limit(start.limits);
    return await make();
  } catch (error) {
    send({ hello: "failed", problem: problemOf(error) });
    return process.reallyExit(1);
  }
}

async function limit(limits: Limits): Promise<void> {
  const [{ applyLimits }, { loadLibc }] = await Promise.all([
    import("./items/limits.js"),
    import("./libc.js"),
  ]);
  applyLimits(libcBy(loadLibc), limits);
}

function libcBy(load: () => Libc): Libc {
  try {
    return load();
  } catch (error) {
    throw new LoadFailure("The option `limits` needs Linux and the optional dependency koffi", {
      value: error,
      unrelated: true,
    });
  }
}

/** Without koffi, what needs it is done otherwise or not at all. */
async function libcIfAny(): Promise<Libc | undefined> {
  try {
    const { loadLibc } = await import("./libc.js");
    return loadLibc();
  } catch {
    return undefined;
  }
}

function sendUsage(): void {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  send({ usage: [userCPUTime, systemCPUTime, maxRSS * 1024] });
}

function readAll(): [SpawnedLoad, StartRequest] {
  const lines: string[] = [];
  while (lines.length < 2) {
    const more = readLines();
    // The parent ended before it sent both lines.
    if (!more) return process.reallyExit(1);
    lines.push(...more);
  }
  return lines.map((line) => parse(line) as unknown) as [SpawnedLoad, StartRequest];
}
