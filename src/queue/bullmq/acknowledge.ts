/**
 * How a job is acknowledged: by BullMQ's own methods, which fetch the next one with it, but until the server has taken it. What the server
 * refuses is dropped; BullMQ would then fail the job, though it was done.
 */
import type { Job } from "bullmq";
import { persist, type Persistence } from "./persist.js";

export interface AcknowledgeOptions extends Persistence {
  /** Takes the job's lock again; false if another machine has the job. */
  relock(): Promise<boolean>;
  /** The acknowledgement is sent. */
  onBegin(): void;
  onRefused(): void;
  /** The job is no longer held. */
  onDone(): void;
}

/** BullMQ's codes of errors. */
const GONE = -1;
const NO_LOCK = -2;
const NOT_ACTIVE = -3;
const OTHER_LOCK = -6;
const REFUSALS = new Set<unknown>([GONE, NO_LOCK, NOT_ACTIVE, OTHER_LOCK]);

/** Has `job` acknowledged so from now on. */
export function acknowledgeReliably(job: Job, options: AcknowledgeOptions): void {
  const complete = job.moveToCompleted.bind(job);
  const fail = job.moveToFailed.bind(job);
  job.moveToCompleted = (...words) => acknowledge(() => complete(...words), options);
  job.moveToFailed = async (error, ...words) => {
    const stacktrace = job.stacktrace ?? [];
    const failWith = (reason: Error) =>
      acknowledge(() => {
        // BullMQ adds the stack each time.
        job.stacktrace = [...stacktrace];
        return fail(reason as typeof error, ...words);
      }, options);
    try {
      return await failWith(error);
    } catch (cause) {
      return await failForGood(error, cause as Error, failWith, options);
    }
  };
}

/**
 * BullMQ could not say when the job is to be tried again, such as for a `backoff` of a type that does not exist, and would leave it
 * active for ever: it fails without another attempt.
 */
async function failForGood<T>(
  error: Error,
  cause: Error,
  failWith: (reason: Error) => Promise<T>,
  options: AcknowledgeOptions,
): Promise<T> {
  const reason = new Error(`${error.message} (not tried again: ${cause.message})`, {
    cause: error,
  });
  // BullMQ keeps message and stack, and goes by the name.
  Object.assign(reason, { name: "UnrecoverableError", stack: error.stack });
  try {
    return await failWith(reason);
  } catch (unexpected) {
    options.onDone();
    throw unexpected;
  }
}

/** Whether the server answers that the job is not this machine's any more. */
export function isRefusal(error: unknown): boolean {
  return REFUSALS.has((error as { code?: unknown }).code);
}

async function acknowledge<T>(
  command: () => Promise<T>,
  options: AcknowledgeOptions,
): Promise<T | undefined> {
  options.onBegin();
  try {
    const next = await persist(command, isFinal, options);
    options.onDone();
    return next;
  } catch (error) {
    // Such as a result that is no JSON: BullMQ fails the job.
    if (!isRefusal(error)) throw error;
    return await insist(error as RefusalError, command, options);
  }
}

/** A lock may have expired while the server was away, though nobody else has the job. */
async function insist<T>(
  { code }: RefusalError,
  command: () => Promise<T>,
  options: AcknowledgeOptions,
): Promise<T | undefined> {
  try {
    if (
      code === NO_LOCK &&
      (await persist(
        () => options.relock(),
        () => false,
        options,
      ))
    )
      return await persist(command, isFinal, options);
    if (!options.isOver()) options.onRefused();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    options.onRefused();
  } finally {
    options.onDone();
  }
  return undefined;
}

type RefusalError = Error & { readonly code?: unknown };

/** What passes: the server cannot take a command now, or the connection was cut. */
const PASSING = new Set(["ReplyError", "AbortError", "InterruptError", "ParserError"]);

/** BullMQ's own errors, and those of a result that is no JSON. */
function isFinal({ name, message }: Error): boolean {
  return !PASSING.has(name) && message !== "Connection is closed.";
}
