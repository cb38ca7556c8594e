/**
 * A batch of tasks as a job carries it to a machine, and what the machine reports of it, both as JSON. Items and results that JSON
 * does not keep travel as base64. All of it passes the queue's server, so single items and results are limited in size.
 */
import { ItemError, StartError } from "../errors.js";
import type { ItemFormat } from "../options.js";
import type { ItemOutcome } from "../pool/engine.js";
import { factsOf } from "../pool/outcome.js";
import { describe } from "../system/describe.js";
import { parse, stringify } from "../system/json.js";
import { monotonic } from "../system/monotonic.js";
import { type ItemStore, packItems } from "../wire/items.js";
import { type BytesKind, decodeItem, type EncodedItem, type Payable } from "../wire/payload.js";
import { type Batch, type Failure, type Run, type Task, tasksOf } from "../wire/task.js";
import { type FailureRecord, recordFailure, reviveFailure } from "./failure-record.js";

/** Of JSON in UTF-16 units, for one item or result. The server holds every value in memory, several times while it passes. */
export const MAX_SIZE = 256 * 1024;

/** Changes when machines of an earlier version could misunderstand it. */
const VERSION = 1;

/** The data of a job. Short names: every job has them. */
export interface BatchRecord {
  readonly forkmap: typeof VERSION;
  /** Key of the stream that receives the report. */
  readonly to: string;
  /** The caller may abort single items. */
  readonly singly?: true | undefined;
  readonly index: number;
  readonly indexes?: readonly number[] | undefined;
  readonly attempts?: readonly number[] | undefined;
  readonly items: readonly unknown[];
  readonly encoded?: Readonly<Record<number, EncodedItem>> | undefined;
  readonly format: ItemFormat;
  readonly timeout?: number | undefined;
  readonly results: boolean;
  readonly runs: boolean;
}

/** What became of a batch. */
interface ReportRecord {
  /** Time from the first begin to the last end, in ms. */
  readonly ms: number;
  /** Results by place; of failed items `null`. Missing if the caller drops them. */
  readonly results?: readonly unknown[] | undefined;
  readonly encoded?: Readonly<Record<number, EncodedItem>> | undefined;
  readonly failures?: Readonly<Record<number, FailureRecord>> | undefined;
  /** Of each item [num, generation, pid, start, end], times in ms before the report was made. */
  readonly runs?: readonly RunRecord[] | undefined;
  readonly machine: string;
}

type RunRecord = readonly [
  num: number,
  generation: number,
  pid: number | null,
  start: number,
  end: number,
];

export interface Report {
  readonly machine: string;
  readonly ms: number;
  readonly outcomes: readonly ItemOutcome[];
  /** Size of the report, in characters. */
  readonly size: number;
}

export interface BatchOptions {
  readonly format: ItemFormat;
  readonly timeout: number | undefined;
  readonly results: boolean;
  readonly runs: boolean;
  readonly singly: boolean;
}

/**
 * @returns the record, or the failure of the batch's only item; `undefined` if it is too large and has several: divide it
 * @throws TypeError when the first item can no longer travel
 */
export function recordBatch(
  batch: Batch,
  to: string,
  { format, timeout, results, runs, singly }: BatchOptions,
): BatchRecord | { readonly failure: Failure } | undefined {
  const { index, indexes, attempts, items, encoded } = packItems(batch, 0, INLINE, format);
  if (items.length < batch.length) return undefined;
  const record: BatchRecord = {
    forkmap: VERSION,
    to,
    index,
    indexes,
    attempts,
    items,
    encoded,
    format,
    timeout,
    results,
    runs,
    singly: singly || undefined,
  };
  const size = lengthOf(items) + (encoded ? lengthOf(encoded) : 0);
  if (size <= MAX_SIZE) return record;
  if (batch.length > 1) return undefined;
  const [task] = tasksOf(batch);
  const what = `takes ${inKiB(size)} as JSON, more than the ${inKiB(MAX_SIZE)} that may pass a queue: pass where it is, such as a path or a URL`;
  const error = new StartError(factsOf(task!, NOWHERE), what);
  return { failure: { error, isRetriable: false } };
}

/** Returns `undefined` for the data of any other job. @throws Error for a version that this machine does not know */
export function readBatch(data: unknown): BatchRecord | undefined {
  const version = (data as { forkmap?: unknown } | null | undefined)?.forkmap;
  if (version === undefined) return undefined;
  if (version === VERSION) return data as BatchRecord;
  throw new Error(
    `The job is of version ${describe(version)} of the format of forkmap, and this machine knows version ${VERSION}: update forkmap here`,
  );
}

export function tasksOfRecord({ index, indexes, attempts, items, encoded }: BatchRecord): Task[] {
  return items.map((item, place) => ({
    index: indexes?.[place] ?? index + place,
    item: encoded?.[place] ? decodeItem(encoded[place]) : item,
    attempt: attempts?.[place] ?? 1,
  }));
}

/** @param ms - how long the machine took for the batch */
export function writeReport(
  tasks: readonly Task[],
  outcomes: readonly ItemOutcome[],
  { results: areKept, runs: areWanted, format }: Pick<BatchRecord, "results" | "runs" | "format">,
  ms: number,
  machine: string,
): string {
  const now = monotonic();
  const failures: Record<number, FailureRecord> = {};
  const kept: Task[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const item = areKept && "result" in outcome ? outcome.result : null;
    const size = sizeOfResult(item);
    if (size > MAX_SIZE)
      failures[index] = recordFailure(tooLarge(tasks[index]!, outcome.run, size), machine);
    else if ("failure" in outcome) failures[index] = recordFailure(outcome.failure, machine);
    kept.push({ index, item: failures[index] ? null : item, attempt: 1 });
  }
  const packed = areKept ? packItems(kept, 0, INLINE, format) : undefined;
  const runs = areWanted ? outcomes.map(({ run }) => recordRun(run, now)) : undefined;
  return stringify({
    ms,
    results: packed?.items,
    encoded: packed?.encoded,
    failures: Object.keys(failures).length > 0 ? failures : undefined,
    runs,
    machine,
  } satisfies ReportRecord);
}

/** @param keeps - whether results were asked for: without, they are `undefined` */
export function readReport(text: string, length: number): Report {
  const { ms, results, encoded, failures, runs, machine } = parse(text) as ReportRecord;
  const now = monotonic();
  const outcomes: ItemOutcome[] = [];
  for (let place = 0; place < length; place += 1) {
    const record = runs?.[place];
    const run = record && reviveRun(record, now);
    const failure = failures?.[place];
    if (failure) outcomes.push({ failure: reviveFailure(failure), run });
    else {
      const own = encoded?.[place];
      outcomes.push({ result: own ? decodeItem(own) : results?.[place], run });
    }
  }
  return { machine, ms, outcomes, size: text.length };
}

/** Everything travels in the record. */
const INLINE: ItemStore = {
  longerThan: Infinity,
  keep: ({ kind, data }: Payable) => ({
    base64: Buffer.from(data as Uint8Array).toString("base64"),
    kind: kind as BytesKind,
  }),
  release: () => {},
};

/** For an item that never reached a machine. */
export const NOWHERE: Run = {
  num: 0,
  generation: 0,
  pid: undefined,
  start: 0,
  end: 0,
  usage: undefined,
};

function tooLarge(task: Task, run: Run | undefined, size: number): Failure {
  const what = `gave a result of ${inKiB(size)} as JSON, more than the ${inKiB(MAX_SIZE)} that may pass a queue: write it to where both can read, and return its address`;
  return { error: new ItemError(factsOf(task, run ?? NOWHERE), what), isRetriable: false };
}

/** About: a text may grow by escapes. */
function sizeOfResult(result: unknown): number {
  if (typeof result === "string") return result.length;
  if (result instanceof Uint8Array) return (result.length * 4) / 3;
  return typeof result === "object" && result !== null ? lengthOf(result) : 0;
}

function lengthOf(value: object): number {
  try {
    return stringify(value).length;
  } catch {
    // Only `serialization: "advanced"` keeps it.
    return 0;
  }
}

function recordRun(run: Run | undefined, now: number): RunRecord {
  const { num, generation, pid, start, end } = run ?? NOWHERE;
  return [num, generation, pid ?? null, now - start, now - end];
}

function reviveRun([num, generation, pid, start, end]: RunRecord, now: number): Run {
  return {
    num,
    generation,
    pid: pid ?? undefined,
    usage: undefined,
    start: now - start,
    end: now - end,
  };
}

function inKiB(size: number): string {
  return `${Math.ceil(size / 1024)} KiB`;
}
