/**
 * What the threads of this process do, as its main thread tells it between two events: its own state, and the stacks of its
 * workers, also of one in `for(;;)` or `Atomics.wait`. A main thread that is blocked tells its stack through interrupts.ts.
 *
 * Workers are asked through Node's inspector, which stays inside the process. Node interrupts a worker to evaluate an expression,
 * and so the stack of that has the frames of what was interrupted. The debugger is not enabled: it would slow down the worker, and
 * report every script. Workers that a worker has started are not known to the main thread.
 */
import type { Session } from "node:inspector";
import { parse, stringify } from "../../system/json.js";
import type { ThreadDump, ThreadState } from "../../wire/thread-dump.js";
import type { Diagnostic } from "./diagnostic.js";

/** A thread that runs JavaScript or waits for events answers in 10 ms. */
const ANSWER_MS = 1000;

export const threadDump: Diagnostic = ({ signal }) => dumpThreads(signal);

export async function dumpThreads(signal?: AbortSignal): Promise<ThreadDump> {
  const main: ThreadState = {
    id: 0,
    name: "main",
    state: "idle",
    resources: counted(process.getActiveResourcesInfo()),
  };
  let session: Session | undefined;
  try {
    const { Session } = await import("node:inspector");
    session = new Session();
    session.connect();
    return { threads: [main, ...(await askWorkers(session, signal))] };
  } catch (error) {
    // Node was built without it, or its permissions forbid it.
    const { message } = error as Error;
    return {
      threads: [main],
      reason: `workers cannot be asked without Node's inspector: ${message}`,
    };
  } finally {
    // Detaches from the workers, too.
    session?.disconnect();
  }
}

async function askWorkers(
  session: Session,
  signal: AbortSignal | undefined,
): Promise<ThreadState[]> {
  const workers = new Map<string, Asked>();
  session.on("NodeWorker.attachedToWorker", ({ params: { sessionId, workerInfo } }) => {
    const worker = new Asked(sessionId, workerInfo.title);
    workers.set(sessionId, worker);
    session.post("NodeWorker.sendMessageToWorker", { sessionId, message: QUESTION }, (error) => {
      if (error) worker.fail(error.message);
    });
  });
  session.on("NodeWorker.receivedMessageFromWorker", ({ params: { sessionId, message } }) =>
    workers.get(sessionId)?.read(message),
  );
  session.on("NodeWorker.detachedFromWorker", ({ params: { sessionId } }) =>
    workers.get(sessionId)?.fail("the thread has ended"),
  );
  // Attaches to each worker before it returns.
  await new Promise<void>((resolve, reject) => {
    session.post("NodeWorker.enable", { waitForDebuggerOnStart: false }, (error) =>
      error ? reject(error) : resolve(),
    );
  });
  const give = (reason: string) => () => {
    for (const worker of workers.values()) worker.fail(reason);
  };
  const timer = setTimeout(
    give(`the thread is in a native call: its stack could not be had within ${ANSWER_MS} ms`),
    ANSWER_MS,
  );
  const onAbort = give("nobody waits for the answer any more");
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  try {
    const states = await Promise.all(Array.from(workers.values(), ({ state }) => state));
    return states.toSorted((one, other) => one.id - other.id);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    await new Promise((resolve) => session.post("NodeWorker.disable", resolve));
  }
}

/** One worker that was asked. */
class Asked {
  readonly state: Promise<ThreadState>;
  readonly #id: number;
  readonly #name: string;
  #settle!: (state: ThreadState) => void;

  /** @param title - `[worker 3] name`, or what else this version of Node makes of it */
  constructor(sessionId: string, title: string) {
    const [, id, name] = /^\[worker (\d+)\] ?(.*)$/s.exec(title) ?? [title, sessionId, title];
    this.#id = Number(id);
    this.#name = name || `worker ${id}`;
    this.state = new Promise((resolve) => (this.#settle = resolve));
  }

  read(message: string): void {
    const { id, result, error } = parse(message) as Answer;
    if (id !== QUESTION_ID) return;
    const value = result?.result?.value;
    if (typeof value !== "string") {
      this.fail(`the thread could not tell its stack: ${error?.message ?? "an error was thrown"}`);
      return;
    }
    const { stack, resources } = parse(value) as { stack: string; resources: string[] };
    const own = { id: this.#id, name: this.#name, resources: counted(resources) };
    this.#settle(stack ? { ...own, state: "running", stack } : { ...own, state: "idle" });
  }

  /** Later calls do nothing. */
  fail(reason: string): void {
    this.#settle({ id: this.#id, name: this.#name, state: "unknown", reason });
  }
}

interface Answer {
  readonly id?: number;
  readonly error?: { readonly message: string };
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

/** Runs in the worker, in the middle of any code, and so uses none of the user's: see current-stack.ts, which is not loaded there. */
const EXPRESSION = `(function ask() {
  const names = ["stackTraceLimit", "prepareStackTrace"];
  const before = names.map((name) => Object.getOwnPropertyDescriptor(Error, name));
  const set = (name, value) =>
    Object.defineProperty(Error, name, { value, configurable: true, writable: true, enumerable: true });
  const holder = {};
  try {
    set("stackTraceLimit", 200);
    set("prepareStackTrace", (_, frames) => frames.slice(1).map((each) => "    at " + each + "\\n").join(""));
    Error.captureStackTrace(holder, ask);
    holder.stack;
  } finally {
    names.forEach((name, at) => {
      if (before[at]) Object.defineProperty(Error, name, before[at]);
      else delete Error[name];
    });
  }
  return JSON.stringify({ stack: holder.stack, resources: process.getActiveResourcesInfo() });
})()`;

const QUESTION_ID = 1;
const QUESTION = stringify({
  id: QUESTION_ID,
  method: "Runtime.evaluate",
  params: { expression: EXPRESSION, returnByValue: true, silent: true },
});

function counted(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
