/**
 * Threads inside a child process, the host: starts them at the parent's request, forwards messages both ways, and
 * reports how each ended. The host is the parent of its threads, and starts them with the same class as any parent of
 * threads.
 */
import { WorkerModuleError } from "../../errors.js";
import { recordError } from "../../wire/error-record.js";
import type { Answer, FromHost, ThreadEnd, ToHost } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { Frame } from "../../worker/worker.js";
import type { ChildEnd } from "../launcher.js";
import { ThreadHandle } from "./thread-launcher.js";

export interface ThreadHostEvents {
  /** Sends a message to the parent. */
  say(message: FromHost): void;
  /** The parent wants no more threads, and none is left. */
  done(): void;
}

export class ThreadHost {
  readonly #source: WorkerSource;
  readonly #events: ThreadHostEvents;
  readonly #threads = new Map<string, ThreadHandle>();

  /** @param frame - the frame of this process */
  constructor(source: WorkerSource, frame: Frame, events: ThreadHostEvents) {
    this.#source = { ...source, context: [...source.context, frame] };
    this.#events = events;
  }

  follow(message: ToHost): void {
    if (message.do === "end") this.#events.done();
    else if (message.do === "thread") this.#start(message);
    else if (message.do === "tell") this.#threads.get(message.id)?.send(message.message);
    else this.#threads.get(message.id)?.kill(message.signal);
  }

  #start({ request, startupTimeout }: Extract<ToHost, { do: "thread" }>): void {
    const { id } = request;
    const say = (what: { ready: true } | Pick<Said, "answer"> | Pick<Ended, "end">) =>
      this.#events.say({ status: "thread", id, ...what });
    const settings = { execArgv: undefined, env: process.env, startupTimeout };
    const thread = new ThreadHandle(this.#source, request, undefined, settings, {
      onReady: () => say({ ready: true }),
      onWaiting() {},
      onAnswer: (answer) => say({ answer: answer as Answer }),
      // A thread posts whole messages, which cannot be malformed as lines can.
      onBreach() {},
      onEnd: (end) => {
        this.#threads.delete(id);
        say({ end: recordEnd(end) });
      },
    });
    this.#threads.set(id, thread);
  }
}

type Said = Extract<FromHost, { answer: unknown }>;
type Ended = Extract<FromHost, { end: unknown }>;

function recordEnd(end: ChildEnd): ThreadEnd {
  if (end.started) {
    const { exitCode, outOfMemory, reason } = end;
    return { exitCode, outOfMemory, reason };
  }
  const { fatal } = end;
  const module = fatal instanceof WorkerModuleError ? fatal.module : undefined;
  return { fatal: { module, error: recordError(fatal ?? new Error(end.reason)) } };
}
