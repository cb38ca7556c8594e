/**
 * Start method `thread`, seen from the parent: each child is a thread of this process, with shared memory for its
 * ledger and messages for everything else. Inside the thread runs child/thread-child.ts. The folder holds this launcher
 * and threads inside processes: hybrid-launcher.ts and host-handle.ts in the parent, thread-host.ts in the process.
 */
import { MessageChannel, type MessagePort, type ResourceLimits, Worker } from "node:worker_threads";
import { LaunchError } from "../../errors.js";
import { stringify } from "../../system/json.js";
import { processorCount } from "../../system/processor-count.js";
import { isShortage, shortageOf } from "../../system/shortage.js";
import { setImmediate, setTimeout } from "../../system/timers.js";
import { readFromThread } from "../../wire/check-message.js";
import type { ItemStore } from "../../wire/items.js";
import type { EncodedItem } from "../../wire/payload.js";
import { LedgerReader } from "../../wire/ledger-reader.js";
import type { Ledger } from "../../wire/ledger.js";
import type { ToInstance } from "../../wire/notification.js";
import {
  LONGEST_INLINE,
  type FromThread,
  type LedgerShape,
  type StartRequest,
  type ThreadData,
  ThreadHold,
  type ThreadMail,
  type ToChild,
  type ToHost,
  type ToThread,
} from "../../wire/protocol.js";
import { workerName } from "../../worker/current-context.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { Deadline } from "../deadline.js";
import { entryFile } from "../entry-file.js";
import { warnOfChange } from "../change-warning.js";
import type { Child, ChildEnd, ChildEvents, Launcher, Room, RoomOptions } from "../launcher.js";
import { type Overflow, OverflowFiles } from "../overflow.js";
import { inheritable, loadError, startupTimeoutError } from "../warm-node.js";
import { OverflowMail } from "./overflow-mail.js";

/** How soon it is looked again whether a thread may be ended: it loads koffi in some ms. */
const HOLD_MS = 1;

/** Where and how threads run: the options of `Parallel` that concern them. */
export interface ThreadSettings {
  /** `undefined`: the same as this program's. */
  readonly execArgv: readonly string[] | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** In ms. */
  readonly startupTimeout: number;
}

export class ThreadLauncher implements Launcher {
  readonly startMethod = "thread";
  readonly defaultConcurrency = processorCount();
  readonly pids = [];
  readonly #locate: () => WorkerSource;
  readonly #settings: ThreadSettings;
  #source: WorkerSource | undefined;

  constructor(locate: () => WorkerSource, settings: ThreadSettings) {
    this.#locate = locate;
    this.#settings = settings;
  }

  async ready(): Promise<void> {
    this.#source ??= this.#locate();
  }

  async makeRoom({ shape }: RoomOptions): Promise<Room> {
    this.#source ??= this.#locate();
    return new ThreadRoom(shape, this.#source, this.#settings);
  }

  async close(): Promise<void> {}
}

/** The descriptors of a thread's event loop; those that it needs only while it loads its modules do not count. */
const THREAD_DESCRIPTORS = 5;

class ThreadRoom implements Room {
  readonly directory = "";
  readonly descriptors = THREAD_DESCRIPTORS;
  readonly #ledgers = new Map<number, SharedArrayBuffer>();
  readonly #shape: LedgerShape;
  readonly #source: WorkerSource;
  readonly #settings: ThreadSettings;

  constructor(shape: LedgerShape, source: WorkerSource, settings: ThreadSettings) {
    this.#shape = shape;
    this.#source = source;
    this.#settings = settings;
  }

  /** Long items travel with their messages. Bytes are not copied before: each attempt sends a copy of its own. */
  readonly items: ItemStore = {
    longerThan: LONGEST_INLINE,
    keep: ({ kind, data }) =>
      (typeof data === "string" ? { text: data, kind } : { bytes: data, kind }) as EncodedItem,
    release() {},
  };

  ledger(num: number): Ledger {
    const memory = new SharedArrayBuffer(this.#shape.cellBytes);
    this.#ledgers.set(num, memory);
    return new LedgerReader({ memory: new Uint8Array(memory) }, this.#shape);
  }

  start(request: StartRequest, events: ChildEvents): Child {
    const ledger = this.#ledgers.get(request.start.num);
    return new ThreadHandle(this.#source, request, ledger, this.#settings, events);
  }

  async remove(): Promise<void> {
    this.#ledgers.clear();
  }
}

export class ThreadHandle implements Child {
  readonly pid = process.pid;
  readonly overflow: Overflow;
  readonly #mail: MessagePort | undefined;
  readonly #events: ChildEvents;
  readonly #url: string;
  /** Not zero once the worker has read `task.signal`, so that the thread can be asked to end. */
  readonly #heeds = new Int32Array(new SharedArrayBuffer(4 * ThreadHold.words));
  readonly #worker: Worker | undefined;
  readonly #startDeadline: Deadline;
  #fatal: Error | undefined;
  #isReady = false;
  #thrown: { readonly error: unknown } | undefined;
  #isOutOfMemory = false;
  #isTerminated = false;

  /** @param ledger - undefined inside a host: the ledger and its overflow are then files */
  constructor(
    source: WorkerSource,
    request: StartRequest,
    ledger: SharedArrayBuffer | undefined,
    settings: ThreadSettings,
    events: ChildEvents,
  ) {
    // An instance of a service has neither.
    const mail = ledger && new MessageChannel();
    this.#mail = mail?.port1;
    this.overflow = mail ? new OverflowMail(mail.port1) : new OverflowFiles(request.start);
    this.#events = events;
    this.#url = source.url;
    this.#startDeadline = new Deadline(settings.startupTimeout, () => {
      this.#fatal = startupTimeoutError(source, settings.startupTimeout);
      this.kill("SIGKILL");
    });
    const memory = mail && { ledger, mail: mail.port2 };
    const data = { source, request, memory, heeds: this.#heeds } satisfies ThreadData;
    try {
      this.#worker = startThread(data, settings);
    } catch (error) {
      this.#fatal = launchError(error);
      setImmediate(() => this.#end(0));
      return;
    }
    this.#worker.on("message", (message: unknown) => this.#receive(readFromThread(message)));
    this.#worker.once("error", (error: unknown) => this.#onError(error));
    this.#worker.once("exit", (code) => this.#end(code));
    // After adding the "message" listener, which refs the worker again.
    this.#worker.unref();
  }

  send(message: ToChild | ToHost | ToInstance): void {
    this.#post(message as ToChild | ToInstance);
  }

  /** Threads have no signals: asks a thread that has read `task.signal` to end; else, or on SIGKILL, terminates it. */
  kill(signal: NodeJS.Signals): void {
    if (signal !== "SIGKILL" && Atomics.load(this.#heeds, 0) !== 0) {
      this.#post({ do: "interrupt" });
      return;
    }
    this.#isTerminated = true;
    this.#terminate();
  }

  #terminate(): void {
    const { word, free, held, ended } = ThreadHold;
    if (Atomics.compareExchange(this.#heeds, word, free, ended) === held) {
      setTimeout(() => this.#terminate(), HOLD_MS);
      return;
    }
    void this.#worker?.terminate();
    // `terminate` refs the worker again.
    this.#worker?.unref();
  }

  /** Posts a line, so that items are JSON as with any start method; encoded items go beside the line. */
  #post(message: ToThread): void {
    if (!("payload" in message) || !message.payload.encoded) {
      this.#worker?.postMessage({ line: stringify(message) });
      return;
    }
    const { encoded, ...payload } = message.payload;
    const copies: ArrayBuffer[] = [];
    const sent = Object.entries(encoded).map(([place, item]) => {
      if (!("bytes" in item)) return [place, item];
      // Only these bytes: a part of a large buffer would be cloned with all of it.
      const bytes = new Uint8Array(item.bytes);
      copies.push(bytes.buffer);
      return [place, { ...item, bytes }];
    });
    const line = stringify({ ...message, payload });
    const mail = { line, encoded: Object.fromEntries(sent) } satisfies ThreadMail;
    this.#worker?.postMessage(mail, copies);
  }

  /** @param message - `undefined`, and ignored, if the user's code in the thread posted it */
  #receive(message: FromThread | undefined): void {
    if (!message) return;
    if ("status" in message || "notify" in message) {
      this.#events.onAnswer(message);
    } else if (this.#isReady) {
      // The thread has reported this already.
    } else if (message.hello === "ready") {
      warnOfChange(message.change);
      this.#startDeadline.clear();
      this.#isReady = true;
      this.#events.onReady();
    } else if (message.hello === "failed") {
      this.#fatal ??= loadError(this.#url, message.problem);
    }
  }

  /** The thread itself has already noted an error of the user's code. */
  #onError(error: unknown): void {
    this.#thrown = { error };
    const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
    if (code === "ERR_WORKER_OUT_OF_MEMORY") this.#isOutOfMemory = true;
  }

  #end(exitCode: number): void {
    this.#startDeadline.clear();
    this.#events.onEnd(this.#endOf(exitCode));
    this.#mail?.close();
  }

  #endOf(exitCode: number): ChildEnd {
    // The thread ended before it could report the error itself.
    if (this.#thrown && !this.#isReady) this.#fatal ??= launchError(this.#thrown.error);
    if (this.#fatal) return notStarted(this.#fatal);
    return {
      started: true,
      pid: this.pid,
      // Node sometimes reports 0 where a process would end with 1.
      exitCode: this.#thrown ? exitCode || 1 : exitCode,
      outOfMemory: this.#isOutOfMemory,
      reason: this.#isTerminated ? "its thread was ended" : undefined,
    };
  }
}

/** @throws when `execArgv` has a flag that threads do not allow */
function startThread(data: ThreadData, { execArgv, env }: ThreadSettings): Worker {
  const { source, request, memory } = data;
  const own = execArgv ? inheritable(execArgv) : ownExecArgv();
  return new Worker(entryFile("thread-child"), {
    name: `forkmap ${workerName(source)} num ${request.start.num}`,
    workerData: data,
    transferList: memory ? [memory.mail] : [],
    env,
    ...(own ? { execArgv: own.filter((flag) => !HEAP_FLAG.test(flag)) } : {}),
    ...(own ? { resourceLimits: resourceLimits(own) } : {}),
  });
}

/** `undefined`: inherited. But a thread that runs a file refuses `--input-type`, which a program of `-e` may have. */
function ownExecArgv(): string[] | undefined {
  return process.execArgv.some((flag) => flag.startsWith("--input-type")) ? [] : undefined;
}

/** In MiB. */
const HEAP_FLAG = /^--max[-_]old[-_]space[-_]size=(\d+)$/;

/** V8's own options apply to the whole process; only the size of the heap can be set for one thread. */
function resourceLimits(execArgv: readonly string[]): ResourceLimits {
  const size = execArgv.map((flag) => HEAP_FLAG.exec(flag)?.[1]).findLast((found) => found);
  return size === undefined ? {} : { maxOldGenerationSizeMb: Number(size) };
}

/** After a shortage, a start may succeed once other children have ended; any other error is fatal. */
export function notStarted(fatal: Error): ChildEnd {
  const { message: reason, cause } = fatal;
  if (fatal instanceof LaunchError && isShortage(cause)) {
    return { started: false, reason, isScarce: true, cause };
  }
  return { started: false, reason, fatal };
}

function launchError(cause: unknown): LaunchError {
  const why = shortageOf(cause) ?? (cause instanceof Error ? cause.message : String(cause));
  return new LaunchError(`A thread could not be started: ${why}`, { cause });
}
