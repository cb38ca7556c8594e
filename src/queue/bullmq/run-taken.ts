/**
 * What is done with a taken job: it is run, and its outcome reported. A batch goes back to its caller as an entry in a stream, before the job is
 * acknowledged: the report is the truth. Any other job is acknowledged by BullMQ with its result or its error.
 */
import { DeadChildError, ItemError } from "../../errors.js";
import type { ItemOutcome, ServePlan } from "../../pool/engine.js";
import { factsOf, inWords } from "../../pool/outcome.js";
import { monotonic } from "../../system/monotonic.js";
import type { Task } from "../../wire/task.js";
import {
  type BatchRecord,
  NOWHERE,
  readBatch,
  tasksOfRecord,
  writeReport,
} from "../batch-record.js";
import type { Bullmq } from "./libraries.js";
import type { Reports } from "./reports.js";
import type { Suspects } from "./suspects.js";
import type { TakenJob } from "./taken-job.js";

export interface RunParts {
  readonly plan: ServePlan;
  readonly reports: Reports;
  readonly suspects: Suspects;
  readonly errors: Pick<Bullmq, "UnrecoverableError" | "WaitingError">;
  /** Name of this machine, for errors. */
  readonly machine: string;
  /** How long the run of a job may go on when the job is to be given back, in ms. */
  readonly giveBackAfter: number;
  /** Gives the job back to the queue, so that another machine has it at once. */
  giveBack(taken: TakenJob): Promise<void>;
}

/**
 * @returns what BullMQ keeps as the job's result
 * @throws WaitingError if the job is not to be acknowledged, else what is to be the job's error
 */
export async function runTaken(taken: TakenJob, parts: RunParts): Promise<unknown> {
  const { suspects } = parts;
  const record = readBatch(taken.job.data);
  const run = () => (record ? runBatch(taken, record, parts) : runSingle(taken, parts));
  return await (suspects.has(taken) ? suspects.alone(taken, run) : run());
}

async function runBatch(taken: TakenJob, record: BatchRecord, parts: RunParts): Promise<void> {
  const { plan, reports, machine, giveBackAfter } = parts;
  const { signal } = taken;
  if (!(await reports.isOpen(record.to))) return await orLeave(taken, parts);
  const tasks = tasksOfRecord(record);
  const start = monotonic();
  let outcomes: readonly ItemOutcome[] | undefined;
  try {
    if (taken.doom !== undefined) outcomes = failAll(tasks, doomed, false);
    else if (!signal.aborted) {
      const run = plan.runBatch({
        ...factsOfJob(taken),
        tasks,
        format: record.format,
        timeout: record.timeout,
        wantsResults: record.results,
        wantsRuns: record.runs,
        isSingly: record.singly === true,
        signalOf: (place) => (record.singly ? taken.signalOf(place) : undefined),
      });
      outcomes = await taken.settled(run, giveBackAfter);
    }
  } catch (error) {
    if (!signal.aborted) outcomes = failAll(tasks, (task) => notRun(task, error), true);
  }
  if (taken.end === "lost" || (taken.end === "returned" && !outcomes))
    return await orLeave(taken, parts);
  // Without outcomes its caller has aborted it, and waits for the end of what ran.
  const report = outcomes && writeReport(tasks, outcomes, record, monotonic() - start, machine);
  await reports.add(record.to, taken.id, report);
}

async function runSingle(taken: TakenJob, parts: RunParts): Promise<unknown> {
  const { plan, errors, giveBackAfter } = parts;
  if (taken.doom !== undefined) throw new errors.UnrecoverableError(taken.doom);
  await orLeave(taken, parts);
  try {
    const run = plan.runJob({ ...factsOfJob(taken), data: taken.job.data, isPostponed });
    const result = await taken.settled(run, giveBackAfter);
    if (taken.end === "lost") await orLeave(taken, parts);
    return keepable(result);
  } catch (error) {
    await orLeave(taken, parts);
    const own = error instanceof Error ? error : new Error(String(error));
    // Its `attempts` are for errors, not for what nobody wants.
    throw taken.end === "aborted" ? new errors.UnrecoverableError(own.message) : failureOf(own);
  }
}

/** BullMQ's `RateLimitError`, which it knows by this message: it puts the job back. */
export function isPostponed(error: unknown): boolean {
  return error instanceof Error && error.message === "bullmq:rateLimitExceeded";
}

/** By these BullMQ is told that the processor has moved its job itself; it would leave the job as it is, active for ever. */
const MOVED = new Set(["DelayedError", "WaitingError", "WaitingChildrenError"]);

/** What the job fails with. */
function failureOf(error: Error): Error {
  if (!MOVED.has(error.name)) return error;
  const why = `${inWords(error)}, which is for processors that have moved their job: a worker of forkmap cannot move it`;
  const toDo = "To have it run again, give it `attempts` and `backoff`, and throw another error";
  return new Error(`The job threw ${why}. ${toDo}`, { cause: error });
}

/** @throws WaitingError if the job is another machine's, or is given back */
async function orLeave(taken: TakenJob, { giveBack, errors }: RunParts): Promise<void> {
  if (taken.end === "returned") await giveBack(taken);
  if (taken.end === "returned" || taken.end === "lost") throw new errors.WaitingError();
}

function factsOfJob({ id, queue, job, signal }: TakenJob) {
  return { id, queue, name: job.name, attempt: job.attemptsMade + 1, signal };
}

/** BullMQ keeps results as JSON. Bytes are kept as `{ base64 }`, and nothing as `null`. */
function keepable(result: unknown): unknown {
  if (!(result instanceof Uint8Array)) return result ?? null;
  const { buffer, byteOffset, byteLength } = result;
  return { base64: Buffer.from(buffer, byteOffset, byteLength).toString("base64") };
}

function failAll(
  tasks: readonly Task[],
  failureOf: (task: Task) => Error,
  isRetriable: boolean,
): ItemOutcome[] {
  return tasks.map((task) => ({ failure: { error: failureOf(task), isRetriable } }));
}

/** `runBatch` reports what happens to each item, so it has failed as a whole. */
function notRun(task: Task, error: unknown): ItemError {
  const why = error instanceof Error ? error.message : String(error);
  return new ItemError(factsOf(task, NOWHERE), `could not be run: ${why}`, { cause: error });
}

function doomed(task: Task): DeadChildError {
  const what =
    "was given up: too many machines in succession have gone silent while they had it (`maxCrashes`), killed or frozen";
  const death = { exitCode: undefined, signal: undefined, probablyOutOfMemory: false };
  return new DeadChildError(factsOf(task, NOWHERE), death, what);
}
