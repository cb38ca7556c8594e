/**
 * The first moments of a forked child, and its last: makes a process of its own out of a copy of the fork server, gets its
 * items (with its start, or through a channel) and ends without Node's teardown.
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
import type { WorkerSource } from "../../worker/worker-source.js";
import { connectTo } from "../../wire/socket-path.js";
import { keepWhatWasThere } from "../items/exit-listeners.js";
import { ItemChannel } from "../items/item-channel.js";
import type { Inherited } from "./inherited.js";
import { mapLedger } from "../items/ledgers.js";
import { type LedgerMemory, LedgerWriter } from "../items/ledger-writer.js";
import { type Libc, SIGKILL } from "../libc.js";
import { applyLimits } from "../items/limits.js";
import type { Notes } from "../items/notes.js";
import { OverflowFileWriter, type OverflowWriter } from "../items/overflow.js";
import {
  eventsAlone,
  eventsThrough,
  hostThreads,
  tellRejectionsSoon,
  titleOf,
} from "../items/process-child.js";
import { OutputMarks } from "../items/output-marks.js";
import { renewRandom } from "./renew.js";
import { Runner } from "../items/runner.js";
import type { LoadedWorker, Surroundings } from "../items/runner-events.js";
import { writeFully } from "../items/stdio.js";
import { atEnd, type Ending, exitBy, isExitAwaited } from "../items/watch-exit.js";

const { _tickCallback: drainMicrotasks } = process;
/** One to read the end of a stream, one to close it, one for what is done about that. */
const TURNS_TO_CLOSE = 3;
/** Asked for in the environment of the children, which the fork server has. */
const isCovered = Boolean(process.env["NODE_V8_COVERAGE"]);

export class ForkedChild {
  readonly #libc: Libc;
  readonly #worker: LoadedWorker;
  readonly #source: WorkerSource;
  readonly #around: Surroundings;
  readonly #inherited: Inherited | undefined;
  readonly #serverPid = process.pid;
  #notes: Notes | undefined;
  #isDone = false;
  #isLeaving = false;
  /** No callback of its own has been called yet: what it does is done at the bottom of the stack, or in the microtasks of that. */
  #isBeginning = true;
  /** To be done when those have run. */
  #then: (() => void) | undefined;

  constructor(
    libc: Libc,
    worker: LoadedWorker,
    source: WorkerSource,
    inherited: Inherited | undefined,
  ) {
    const { name, context } = source;
    this.#inherited = inherited;
    this.#libc = libc;
    this.#worker = worker;
    this.#source = source;
    this.#around = { kind: "fork", name: name || "worker", context };
  }

  /** Runs what there is to run. Comes back when that needs the event loop; whatever ends first calls `_exit`. */
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
    }, keepWhatWasThere);
    exitBy((code) => {
      this.#note({ how: "exit" });
      return this.#exit(code ?? 0);
    });
    renewRandom();
    if (start.mark !== undefined) redirectOutput(libc, start);
    this.#inherited?.makeOwn();
    if (start.limits) applyLimits(libc, start.limits);
    // Before any of the user's code: work it gives to the thread pool must wake this loop, not the fork server's.
    libc.reviveLoop();

    if (this.#inherited?.hasEnded) void this.#runOnceTold(id, start, memory);
    else this.#run(id, start, memory);
    // Most items are done here, without a turn of the event loop.
    drainMicrotasks();
    this.#isBeginning = false;
    this.#then?.();
  }

  /** First the libraries see that their connections have ended. */
  async #runOnceTold(id: string, start: Start, memory: LedgerMemory | undefined): Promise<void> {
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
    const libc = this.#libc;
    const { payload } = start;
    const ledger = new LedgerWriter(memory ?? ownLedger(libc, start), start.shape);
    const overflow = new OverflowFileWriter(start, ledger);
    if (payload) {
      const events = eventsAlone(
        () => this.#leave(),
        (then) => this.#tellRejections(then),
      );
      const runner = new Runner(this.#worker, start, this.#around, ledger, overflow, events);
      this.#notes = runner.notes;
      runner.run(id, payload);
    } else {
      this.#serve(id, start, ledger, overflow);
    }
  }

  /** They are told when the microtasks have run, which at first needs no tick of its own: it would cost some 50 page faults. */
  #tellRejections(then: () => void): void {
    if (this.#isBeginning) this.#then = then;
    else tellRejectionsSoon(then);
  }

  /** Gets items from a channel of its own, for as long as there are any. */
  #serve(id: string, start: Start, ledger: LedgerWriter, overflow: OverflowWriter): void {
    this.#libc.keepFreedMemory();
    const channel = this.#channel(start);
    const marks = start.mark === undefined ? undefined : new OutputMarks(start.mark);
    const events = eventsThrough(channel, marks, () => this.#leave());
    const runner = new Runner(this.#worker, start, this.#around, ledger, overflow, events);
    this.#notes = runner.notes;
    channel.serve(runner);
    channel.say({ hello: "child", id, pid: process.pid } satisfies ChildGreeting);
  }

  async #hostThreads(id: string, start: Start): Promise<void> {
    const channel = this.#channel(start);
    const frame = { kind: "fork", num: start.num, name: this.#around.name } as const;
    await hostThreads(channel, this.#source, frame, () => this.#exit(0));
    channel.say({ hello: "child", id, pid: process.pid } satisfies ChildGreeting);
  }

  #channel({ directory }: Start): ItemChannel {
    return new ItemChannel(connectTo(directory), () => this.#libc.exit(0));
  }

  #leave(): void {
    this.#isDone = true;
    const code = Number(process.exitCode ?? 0);
    // Where nobody listens all that emits would only cost pages to copy.
    if (!isExitAwaited()) return this.#exit(code);
    this.#isLeaving = true;
    try {
      process.emit("exit", code);
    } finally {
      this.#exit(Number(process.exitCode ?? 0));
    }
  }

  #exit(code: number): never {
    // Node would do both, on its own way out.
    if (isCovered) takeCoverage();
    if (this.#libc.pendingRequests() > 0 && isAtFiles()) this.#libc.finishWork();
    return this.#libc.exit(code);
  }

  /** Why it ends before its item is done. One that is done is done, whatever its exit listeners do. */
  #note(ending: Ending): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#notes?.cutShort(ending);
    if (ending.how !== "uncaught") return;
    // What Node itself would print, had it got that far.
    try {
      writeFully(2, Buffer.from(`Uncaught ${inspect(ending.error)}\n`));
    } catch {
      // Nobody reads it.
    }
  }
}

/** A write that was not waited for, such as a logger's first. */
function isAtFiles(): boolean {
  return process.getActiveResourcesInfo().some((type) => type.startsWith("FSReq"));
}

/** What it and all it starts prints goes to its parent. Waits until that is there to read it. */
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
    // The directory is gone, and so is whoever wanted the item done.
    libc.exit(1);
  }
}

function ownLedger(libc: Libc, { directory, num, shape: { cellBytes } }: Start): LedgerMemory {
  return { buffer: mapLedger(libc, directory, num * cellBytes, cellBytes), offset: 0 };
}
