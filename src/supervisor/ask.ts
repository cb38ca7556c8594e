/** Asks one child for a diagnostic, and says so if it cannot answer: it has no connection yet, or its event loop is blocked. */
import { SupervisorError } from "../errors.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import type { Calls } from "../wire/calls.js";
import { BEGUN } from "../wire/supervision.js";
import type { ThreadDump } from "../wire/thread-dump.js";
import { type KernelThread, kernelThreads } from "./kernel-threads.js";
import type { Child } from "./registry.js";
import { StackUnavailable } from "./stack-request.js";

/** A child says at once that it has begun; one whose event loop is blocked does not. */
const BEGIN_MS = 5000;
/** A child that is asked for its stacks may be interrupted as well. */
const BEGIN_DUMP_MS = 1000;
/** It may get blocked after it has begun. Its workers have 1 s to answer. */
const DUMP_MS = 4000;
/** V8 interrupts JavaScript within a ms, and native calls not at all. */
const INTERRUPT_MS = 3000;

export interface Question {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
  /** Takes the pieces of a long text. */
  onChunk(chunk: string): Promise<void>;
}

/** @throws SupervisorError when it does not answer, or by an error */
export async function ask(child: Child, question: Question): Promise<unknown> {
  return question.name === "thread_dump"
    ? await dumpThreads(child, question)
    : await askItself(child, question, BEGIN_MS);
}

export function inWords({ name, num, pid }: Child): string {
  return `${name} num ${num} (pid ${pid})`;
}

/** Of a child that does not answer, only the main thread can be had, or what the kernel knows. */
async function dumpThreads(
  child: Child,
  question: Question,
): Promise<ThreadDump & { readonly kernel?: readonly KernelThread[] }> {
  try {
    return (await askItself(child, question, BEGIN_DUMP_MS, DUMP_MS)) as ThreadDump;
  } catch (error) {
    if (!(error instanceof SupervisorError && error.reason === "timeout")) throw error;
  }
  try {
    if (child.stacks?.isOpen) return await child.stacks.dumpBlocked(INTERRUPT_MS);
    return unknown(
      child,
      "it has no connection by which it could be interrupted, which needs Linux with glibc and koffi",
    );
  } catch (error) {
    if (!(error instanceof StackUnavailable)) throw error;
    return unknown(child, error.message);
  }
}

function unknown(
  { pid }: Child,
  reason: string,
): ThreadDump & { readonly kernel: readonly KernelThread[] } {
  return {
    threads: [{ id: 0, name: "main", state: "unknown", reason }],
    kernel: kernelThreads(pid),
  };
}

async function askItself(
  child: Child,
  { name, args, signal, onChunk }: Question,
  patience: number,
  timeout?: number,
): Promise<unknown> {
  const calls = await introduced(child, signal);
  const blocked = new AbortController();
  let hasBegun = false;
  const timer = setTimeout(() => blocked.abort(blockedFor(child, patience)), patience);
  try {
    return await calls.call(
      { do: name, args },
      {
        timeout,
        signal: AbortSignal.any([signal, blocked.signal]),
        onAnswer(piece) {
          clearTimeout(timer);
          const isFirst = !hasBegun;
          hasBegun = true;
          return isFirst && piece === BEGUN ? undefined : onChunk(String(piece));
        },
      },
    );
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the connection of a child. One that began before its supervisor has it a second later. */
async function introduced(child: Child, signal: AbortSignal): Promise<Calls> {
  if (child.calls) return child.calls;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), BEGIN_MS);
  const calls = await child.introduced(AbortSignal.any([signal, late.signal]));
  clearTimeout(timer);
  signal.throwIfAborted();
  if (calls) return calls;
  throw new Blocked(
    `${inWords(child)} has not introduced itself to the supervisor: it is starting, its event loop is blocked, or it is no process of Node`,
  );
}

function blockedFor(child: Child, patience: number): Blocked {
  const why = child.calls?.isHeld
    ? " is sending another answer to a client that reads slowly: ask again when that has ended"
    : ` has not begun to answer within ${patience} ms: its event loop is blocked. thread_dump can say by what`;
  return new Blocked(inWords(child) + why);
}

class Blocked extends SupervisorError {
  constructor(message: string) {
    super(message, "timeout");
  }
}
