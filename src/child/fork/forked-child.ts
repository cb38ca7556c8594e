/**
 * The start and end of a forked child: turns a copy of the fork server into an independent process, gets its items
 * (with the start, or through a channel) and exits without Node's teardown.
 */
import { closeSync, constants, openSync } from "node:fs";
import { inspect } from "node:util";
import { takeCoverage } from "node:v8";
import { outputFile } from "../../wire/child-files.js";
import {
  CHANNEL_FD,
  type ChildGreeting,
  type Start,
  type StartRequest,
} from "../../wire/protocol.js";
import { connectTo } from "../../wire/socket-path.js";
import { workerName } from "../../worker/current-context.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { keepOlderFiles } from "../items/exit-listeners.js";
import { ItemChannel } from "../items/item-channel.js";
import { type LedgerMemory, LedgerWriter } from "../items/ledger-writer.js";
import { mapLedger } from "../items/ledgers.js";
import { applyLimits } from "../items/limits.js";
import type { Notes } from "../items/notes.js";
import { OutputMarks } from "../items/output-marks.js";
import { OverflowFileWriter, type OverflowWriter } from "../items/overflow.js";
import {
  eventsAlone,
  eventsThrough,
  hostThreads,
  linkThrough,
  reportRejectionsSoon,
  titleOf,
} from "../items/process-child.js";
import type { LoadedWorker, Surroundings } from "../items/runner-events.js";
import { Runner } from "../items/runner.js";
import { writeFully } from "../items/stdio.js";
import { atEnd, type Ending, exitBy, isExitAwaited } from "../items/watch-exit.js";
import { type Libc, SIGKILL } from "../libc.js";
import type * as RunService from "../service/run-service.js";
import type * as SharedSocketsModule from "../service/shared-sockets.js";
import { type Supervised, supervisedRunner } from "../items/supervised.js";
import type { supervise } from "../supervised/supervise.js";
import type { Inherited } from "./inherited.js";
import { renewRandom } from "./renew.js";

/** Modules that only some children need; the fork server loads them for all of its own. */
export interface ChildModules {
  readonly services?: (typeof RunService & typeof SharedSocketsModule) | undefined;
  readonly supervise?: typeof supervise;
}

const { _tickCallback: drainMicrotasks } = process;
/** One turn to read the end of a stream, one to close it, one for the library's handlers. */
const TURNS_TO_CLOSE = 3;
/** The fork server has the environment of its children. */
const isCovered = Boolean(process.env["NODE_V8_COVERAGE"]);

export class ForkedChild {
  readonly #libc: Libc;
  readonly #worker: LoadedWorker;
  readonly #source: WorkerSource;
  readonly #around: Surroundings;
  readonly #inherited: Inherited | undefined;
  readonly #serverPid = process.pid;
  readonly #modules: ChildModules;
  #measureLast: (() => void) | undefined;
  #notes: Notes | undefined;
  #service: RunService.ServiceRunner | undefined;
  #isDone = false;
  #isLeaving = false;
  /** `begin` or its microtasks are running; the child's event loop has not turned yet. */
  #isBeginning = true;
  /** Called when those microtasks have run. */
  #afterMicrotasks: (() => void) | undefined;

  constructor(
    libc: Libc,
    worker: LoadedWorker,
    source: WorkerSource,
    inherited: Inherited | undefined,
    modules: ChildModules,
  ) {
    this.#modules = modules;
    const { context, serialization } = source;
    this.#inherited = inherited;
    this.#libc = libc;
    this.#worker = worker;
    this.#source = source;
    this.#around = { kind: "fork", name: workerName(source), context, serialization };
  }

  /** Starts the child. Returns if its items need the event loop; a child that is done sooner calls `_exit` here. */
  begin(
    { id, start }: StartRequest,
    memory: LedgerMemory | undefined,
    siblings: readonly number[],
  ): void {
    const libc = this.#libc;
    libc.dieWithParent(SIGKILL);
    if (libc.getppid() !== this.#serverPid) libc.exit(0);
    libc.setpgid(0, 0);
    libc.close(CHANNEL_FD);
    for (const pidfd of siblings) libc.close(pidfd);

    const pid = libc.getpid();
    Object.defineProperty(process, "pid", { value: pid, enumerable: true, configurable: true });
    process.title = titleOf(this.#around.name, start);
    atEnd((ending, code, isLast) => {
      if (this.#isLeaving) return;
      this.#note(ending);
      if (isLast) this.#exit(code);
    }, keepOlderFiles);
    exitBy((code) => {
      this.#note({ how: "exit" });
      return this.#exit(code ?? 0);
    });
    renewRandom();
    if (start.mark !== undefined) redirectOutput(libc, start);
    this.#inherited?.makeOwn();
    if (start.limits) applyLimits(libc, start.limits);
    // Before any user code: work it gives to the thread pool must wake this event loop, not the fork server's.
    libc.reviveLoop();

    if (this.#inherited?.hasEnded) void this.#runAfterDisconnects(id, start, memory);
    else this.#run(id, start, memory);
    // Most items finish here, without a turn of the event loop.
    drainMicrotasks();
    this.#isBeginning = false;
    this.#afterMicrotasks?.();
  }

  /** Runs the items after libraries have had time to see that their connections have ended. */
  async #runAfterDisconnects(
    id: string,
    start: Start,
    memory: LedgerMemory | undefined,
  ): Promise<void> {
    this.#isBeginning = false;
    for (let turn = 0; turn < TURNS_TO_CLOSE; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
    this.#run(id, start, memory);
  }

  #run(id: string, start: Start, memory: LedgerMemory | undefined): void {
    if (start.isHost) {
      void this.#hostThreads(id, start);
      return;
    }
    if (start.service) {
      this.#beInstance(id, start);
      return;
    }
    const libc = this.#libc;
    const { payload } = start;
    const ledger = new LedgerWriter(memory ?? ownLedger(libc, start), start.shape);
    const overflow = new OverflowFileWriter(start, ledger);
    if (payload) {
      const events = eventsAlone(
        () => this.#leave(),
        (then) => this.#reportRejections(then),
      );
      const runner = new Runner(this.#worker, start, this.#around, ledger, overflow, events);
      this.#notes = runner.notes;
      runner.run(id, payload);
    } else {
      this.#serve(id, start, ledger, overflow);
    }
  }

  /** Reports rejections after the microtasks. `begin` drains the first itself: a tick costs some 50 page faults. */
  #reportRejections(then: () => void): void {
    if (this.#isBeginning) this.#afterMicrotasks = then;
    else reportRejectionsSoon(then);
  }

  /** Receives items through the child's own channel until there are no more. */
  #serve(id: string, start: Start, ledger: LedgerWriter, overflow: OverflowWriter): void {
    this.#libc.keepFreedMemory();
    const channel = this.#channel(start);
    const marks = start.mark === undefined ? undefined : new OutputMarks(start.mark);
    const events = eventsThrough(channel, marks, () => this.#leave());
    const runner = new Runner(this.#worker, start, this.#around, ledger, overflow, events);
    this.#notes = runner.notes;
    this.#introduce(start, supervisedRunner(runner));
    channel.serve(runner);
    channel.say({ hello: "child", id, pid: process.pid } satisfies ChildGreeting);
  }

  async #hostThreads(id: string, start: Start): Promise<void> {
    const channel = this.#channel(start);
    const frame = { kind: "fork", num: start.num, name: this.#around.name } as const;
    await hostThreads(channel, this.#source, frame, () => this.#exit(0));
    channel.say({ hello: "child", id, pid: process.pid } satisfies ChildGreeting);
  }

  #beInstance(id: string, start: Start): void {
    const libc = this.#libc;
    const channel = this.#channel(start);
    const { ServiceRunner, SharedSockets } = this.#modules.services!;
    const sockets = new SharedSockets(false, libc);
    const link = linkThrough(channel, sockets, (code) => this.#leave(code));
    const service = new ServiceRunner(this.#worker, this.#source, "fork", start, link);
    this.#service = service;
    this.#introduce(start, service.supervised);
    channel.serve(service);
    // Now: what the instance says follows it, and may be its last words before a turn of the event loop.
    channel.sayNow({ hello: "child", id, pid: process.pid } satisfies ChildGreeting);
    void service.run();
  }

  #introduce({ num, generation, service }: Start, child: Supervised): void {
    const { supervision } = this.#source;
    if (!supervision) return;
    const { kind, name } = this.#around;
    const title = { num, generation, name: service?.name ?? name, kind };
    this.#measureLast = this.#modules.supervise?.(supervision, title, child, this.#libc);
  }

  #channel({ directory }: Start): ItemChannel {
    return new ItemChannel(connectTo(directory), () => this.#libc.exit(0));
  }

  #leave(code = Number(process.exitCode ?? 0)): void {
    this.#isDone = true;
    // Without listeners, emitting would only cost copies of pages.
    if (!isExitAwaited()) return this.#exit(code);
    this.#isLeaving = true;
    try {
      process.emit("exit", code);
    } finally {
      this.#exit(Number(process.exitCode ?? code));
    }
  }

  #exit(code: number): never {
    this.#measureLast?.();
    // Node's own exit would do both.
    if (isCovered) takeCoverage();
    if (this.#libc.pendingRequests() > 0 && isAtFiles()) this.#libc.finishWork();
    return this.#libc.exit(code);
  }

  /** Records why the child ends before its item is done. Later calls do nothing: exit listeners cannot undo results. */
  #note(ending: Ending): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#notes?.cutShort(ending);
    this.#service?.cutShort(ending);
    if (ending.how !== "uncaught") return;
    // Node itself would print the error, but the child exits before that.
    try {
      writeFully(2, Buffer.from(`Uncaught ${inspect(ending.error)}\n`));
    } catch {
      // stderr is closed or has no reader.
    }
  }
}

/** Whether a file operation is pending that was not awaited, such as a logger's first write. */
function isAtFiles(): boolean {
  return process.getActiveResourcesInfo().some((type) => type.startsWith("FSReq"));
}

/** Sends the output of the child and of processes it starts to its parent. Blocks until the parent opens the FIFOs. */
function redirectOutput(libc: Libc, start: Start): void {
  try {
    for (const [name, fd] of [
      ["stdout", 1],
      ["stderr", 2],
    ] as const) {
      const fifo = openSync(outputFile(start, name), constants.O_WRONLY);
      libc.dup2(fifo, fd);
      closeSync(fifo);
    }
  } catch {
    // The directory is gone, and so is the call.
    libc.exit(1);
  }
}

function ownLedger(libc: Libc, start: Start): LedgerMemory {
  const { cellBytes } = start.shape;
  return { buffer: mapLedger(libc, start, start.num * cellBytes, cellBytes), offset: 0 };
}
