/** A host, which is a process that runs threads, seen from the parent: one process at a time, started when needed. */
import { LaunchError, WorkerModuleError } from "../../errors.js";
import { clearTimeout, setImmediate, setTimeout } from "../../system/timers.js";
import { Breach } from "../../wire/breach.js";
import { readFromHost } from "../../wire/check-message.js";
import { reviveError } from "../../wire/error-record.js";
import type {
  FromHost,
  Start,
  StartRequest,
  ThreadEnd,
  ToChild,
  ToHost,
} from "../../wire/protocol.js";
import type { Child, ChildEnd, ChildEvents, Room } from "../launcher.js";
import { OverflowFiles } from "../overflow.js";
import { notStarted } from "./thread-launcher.js";

/** How long a process without threads is kept: a thread that is being replaced is gone for a moment. */
const LINGER_MS = 100;
/** A thread that has not ended by then is in a call that nothing can interrupt: its process is killed. */
const TERMINATE_MS = 1000;

export class HostHandle {
  readonly #room: Room;
  readonly #startupTimeout: number;
  readonly #startOf: (generation: number) => Start;
  readonly #threads = new Map<string, HostedThread>();
  /** Threads for the next process, while this one is ending. */
  readonly #waiting: HostedThread[] = [];
  #generation = 0;
  #state: "gone" | "starting" | "up" | "ending" = "gone";
  #process: Child | undefined;
  /** Messages held back until the process is up. */
  readonly #unsent: ToHost[] = [];
  #lingerTimer: NodeJS.Timeout | undefined;
  #onGone: (() => void) | undefined;
  /** How the process violated the protocol. */
  #breach: string | undefined;

  /** @param startOf - returns what the next process begins with */
  constructor(room: Room, startupTimeout: number, startOf: (generation: number) => Start) {
    this.#room = room;
    this.#startupTimeout = startupTimeout;
    this.#startOf = startOf;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(request: StartRequest, events: ChildEvents): Child {
    clearTimeout(this.#lingerTimer);
    const thread = new HostedThread(request, events, this);
    if (this.#state === "ending") this.#waiting.push(thread);
    else this.#begin(thread);
    return thread;
  }

  send(message: ToHost): void {
    if (this.#state === "starting") this.#unsent.push(message);
    else this.#process?.send(message);
  }

  kill(thread: HostedThread, signal: NodeJS.Signals): void {
    const at = this.#waiting.indexOf(thread);
    if (at === -1) return this.send({ do: "kill", id: thread.id, signal });
    this.#waiting.splice(at, 1);
    const reason = "it was ended while it waited for a process";
    setImmediate(() => thread.onEnd({ started: false, reason }));
  }

  /** Kills the process with all its threads. */
  killProcess(): void {
    this.#process?.kill("SIGKILL");
  }

  /** Ends the process; called only when it has no thread. */
  async close(): Promise<void> {
    clearTimeout(this.#lingerTimer);
    if (this.#state === "gone") return;
    const gone = new Promise<void>((resolve) => (this.#onGone = resolve));
    if (this.#state !== "ending") this.#end();
    const timer = setTimeout(() => this.killProcess(), TERMINATE_MS);
    await gone;
    clearTimeout(timer);
  }

  #begin(thread: HostedThread): void {
    if (this.#state === "gone") this.#startProcess();
    this.#threads.set(thread.id, thread);
    const { request } = thread;
    this.send({ do: "thread", request, startupTimeout: this.#startupTimeout });
  }

  #startProcess(): void {
    this.#generation += 1;
    this.#state = "starting";
    const start = this.#startOf(this.#generation);
    this.#process = this.#room.start(
      { id: start.name, start },
      {
        onReady: () => this.#onReady(),
        onWaiting: () => {
          for (const thread of this.#threads.values()) thread.events.onWaiting();
        },
        onAnswer: (message) => this.#listen(message),
        onBreach: (reason) => this.#break(reason),
        onEnd: (end) => this.#onEnd(end),
      },
    );
  }

  #onReady(): void {
    if (this.#state === "starting") this.#state = "up";
    for (const message of this.#unsent.splice(0)) this.#process!.send(message);
  }

  /** A host reports on its threads only; anything else is a breach. */
  #listen(message: unknown): void {
    try {
      this.#receive(readFromHost(message));
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#break(error.message);
    }
  }

  #break(reason: string): void {
    this.#breach ??= `the process of its thread ${reason}`;
    this.killProcess();
  }

  #receive(message: FromHost): void {
    const thread = this.#threads.get(message.id);
    if (!thread) return;
    if ("ready" in message) return thread.events.onReady();
    if ("answer" in message) return thread.events.onAnswer(message.answer);
    this.#threads.delete(message.id);
    thread.onEnd(endOf(message.end, this.pid));
    if (this.#threads.size > 0 || this.#state !== "up") return;
    this.#lingerTimer = setTimeout(() => this.#end(), LINGER_MS);
    this.#lingerTimer.unref();
  }

  #end(): void {
    // Sent as soon as the process is up.
    this.send({ do: "end" });
    this.#state = this.#state === "starting" ? "starting" : "ending";
  }

  /** All threads have ended with the process, whichever of them is to blame. */
  #onEnd(end: ChildEnd): void {
    clearTimeout(this.#lingerTimer);
    this.#state = "gone";
    this.#process = undefined;
    this.#unsent.length = 0;
    const ended = [...this.#threads.values()];
    this.#threads.clear();
    this.#onGone?.();
    const breach = this.#breach;
    this.#breach = undefined;
    const shared: ChildEnd = end.started
      ? { ...end, usage: undefined, isShared: true, breach }
      : end;
    for (const thread of ended) thread.onEnd(shared);
    for (const thread of this.#waiting.splice(0)) this.#begin(thread);
  }
}

class HostedThread implements Child {
  readonly request: StartRequest;
  readonly events: ChildEvents;
  readonly overflow: OverflowFiles;
  readonly #host: HostHandle;
  #killTimer: NodeJS.Timeout | undefined;

  constructor(request: StartRequest, events: ChildEvents, host: HostHandle) {
    this.request = request;
    this.events = events;
    this.overflow = new OverflowFiles(request.start);
    this.#host = host;
  }

  get id(): string {
    return this.request.id;
  }

  get pid(): number | undefined {
    return this.#host.pid;
  }

  send(message: ToChild): void {
    this.#host.send({ do: "tell", id: this.id, message });
  }

  kill(signal: NodeJS.Signals): void {
    this.#host.kill(this, signal);
    if (signal === "SIGKILL") {
      this.#killTimer ??= setTimeout(() => this.#host.killProcess(), TERMINATE_MS).unref();
    }
  }

  onEnd(end: ChildEnd): void {
    clearTimeout(this.#killTimer);
    this.events.onEnd(end);
  }
}

function endOf({ fatal, ...end }: ThreadEnd, pid: number | undefined): ChildEnd {
  if (!fatal) return { started: true, pid, ...end };
  const { message, cause } = Object(reviveError(fatal.error)) as Error;
  const options = cause === undefined ? undefined : { cause };
  const error =
    fatal.module === undefined
      ? new LaunchError(message, options)
      : new WorkerModuleError(fatal.module, message, options);
  return notStarted(error);
}
