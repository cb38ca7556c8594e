/**
 * Entry of a spawned child: reads its worker and its start from the channel, loads, runs its item or serves as long as
 * there are items, ends. Reads before it loads anything of the user's, so that by then the parent has told the reaper of it.
 */
import { Socket } from "node:net";
import { CHANNEL_FD, type Payload, type StartRequest, type WorkerSource } from "../protocol.js";
import { readLines, send } from "./channel.js";
import { LoadFailure } from "./find-worker.js";
import { ItemChannel } from "./item-channel.js";
import { LedgerWriter } from "./ledger-writer.js";
import { ledgerInFile } from "./ledgers.js";
import { type Libc, loadLibc } from "./libc.js";
import { applyLimits } from "./limits.js";
import { loadWorker, problemOf, problemOfExit } from "./load-worker.js";
import type { Notes } from "./notes.js";
import { OverflowFileWriter } from "./overflow.js";
import { eventsAlone, eventsThrough, hostThreads, titleOf } from "./process-child.js";
import { type LoadedWorker, Runner, type RunnerEvents } from "./runner.js";
import { takeOverStdio } from "./stdio.js";
import { atEnd, watchExit } from "./watch-exit.js";
import { parse } from "../json.js";

const [source, { id, start }] = readAll();
const name = source.name || "worker";
let notes: Notes | undefined;
let isDone = false;
let isHosting = false;

process.title = titleOf(name, start);
takeOverStdio(start.mark === undefined ? "pipes" : "all");
watchExit();
atEnd((ending, code) => {
  if (isHosting) return;
  if (!notes) send({ hello: "failed", problem: problemOfExit(ending, code, source) });
  else if (!isDone) notes.cutShort(ending);
  if (start.payload) sendUsage();
});

if (start.isHost) await orFail(host);
else {
  const worker = await orFail(() => loadWorker(source));
  if (start.payload) runOne(worker, start.payload);
  else serve(worker);
}

/** Its one item has come with its start: its end says that it is done. */
function runOne(worker: LoadedWorker, payload: Payload): void {
  const runner = runnerWith(worker, eventsAlone(done));
  send({ hello: "ready" });
  runner.run(id, payload);
}

/** Gets items through the channel, for as long as there are any. */
function serve(worker: LoadedWorker): void {
  const channel = openChannel();
  channel.serve(runnerWith(worker, eventsThrough(channel, start, done)));
  channel.say({ hello: "ready" });
}

async function host(): Promise<void> {
  const channel = openChannel();
  const frame = { kind: "spawn", num: start.num, name } as const;
  isHosting = true;
  await hostThreads(channel, source, frame, () => process.exit());
  channel.say({ hello: "ready" });
}

function openChannel(): ItemChannel {
  return new ItemChannel(new Socket({ fd: CHANNEL_FD }), () => process.reallyExit(0));
}

function runnerWith(worker: LoadedWorker, events: RunnerEvents): Runner {
  const around = { kind: "spawn", name, context: source.context } as const;
  const writer = new LedgerWriter(ledgerInFile(start), start.shape);
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
    if (start.limits) applyLimits(libcForLimits(), start.limits);
    return await make();
  } catch (error) {
    send({ hello: "failed", problem: problemOf(error) });
    return process.reallyExit(1);
  }
}

function libcForLimits(): Libc {
  try {
    return loadLibc();
  } catch (error) {
    throw new LoadFailure("The option `limits` needs Linux and the optional dependency koffi", {
      value: error,
      unrelated: true,
    });
  }
}

function sendUsage(): void {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  send({ usage: [userCPUTime, systemCPUTime, maxRSS * 1024] });
}

function readAll(): [WorkerSource, StartRequest] {
  const lines: string[] = [];
  while (lines.length < 2) {
    const more = readLines();
    // The parent has ended before it could say what it wants.
    if (!more) return process.reallyExit(1);
    lines.push(...more);
  }
  return lines.map((line) => parse(line) as unknown) as [WorkerSource, StartRequest];
}
