/**
 * A run as a file in Chrome's trace event format, for ui.perfetto.dev and chrome://tracing. Two groups of rows: the
 * items, one row per num, and below them the children, one row per num. Owns the file; callers report the events.
 *
 * The file is a plain array of events, not an object that contains the array: both viewers accept an array without its
 * closing bracket, so the file of a killed program can be viewed. Perfetto rejects an object without its end.
 */
import { closeSync, openSync, writeFileSync } from "node:fs";
import { LaunchError } from "../errors.js";
import { clearInterval, setInterval } from "../system/timers.js";
import type { ChildLife } from "./diagnostics.js";

/** The facts at the beginning of a trace. */
export interface TraceFacts {
  /** Name of the worker's class. */
  readonly worker: string;
  /** Zero on the time axis. All times are ms on CLOCK_MONOTONIC, the clock of `process.hrtime`. */
  readonly startedAt: number;
}

/** One attempt at one item. */
export interface TracedItem {
  readonly num: number;
  readonly index: number;
  readonly attempt: number;
  readonly start: number;
  readonly end: number;
  readonly pid: number | undefined;
  readonly generation: number;
  /** `"ok"`, or the kind of failure. */
  readonly outcome: string;
  /** Message of the error. */
  readonly message?: string | undefined;
}

export class Trace {
  readonly #file: string;
  readonly #fd: number;
  readonly #startedAt: number;
  readonly #items = new Group(ITEMS, FIRST_ITEM_TID);
  readonly #children = new Group(CHILDREN, FIRST_CHILD_TID);
  readonly #timer: NodeJS.Timeout;
  #text = "";
  #error: Error | undefined;
  #closed = false;
  #inFlight: { readonly count: number; readonly time: number } | undefined;
  #inFlightWritten = -Infinity;

  /**
   * Creates the file, or replaces it.
   *
   * @throws LaunchError when it cannot be written
   */
  static create(file: string, facts: TraceFacts): Trace {
    let fd: number | undefined;
    try {
      fd = openSync(file, "w");
      writeFileSync(fd, opening(facts.worker));
      return new Trace(file, fd, facts.startedAt);
    } catch (cause) {
      if (fd !== undefined) closeSync(fd);
      const { message } = cause as Error;
      throw new LaunchError(`The file of the option \`trace\` cannot be written: ${message}`, {
        cause,
      });
    }
  }

  private constructor(file: string, fd: number, startedAt: number) {
    this.#file = file;
    this.#fd = fd;
    this.#startedAt = startedAt;
    this.#timer = setInterval(() => this.#flush(), FLUSH_INTERVAL_MS).unref();
  }

  /** Adds an attempt that has ended. */
  item({ num, index, attempt, start, end, pid, generation, outcome, message }: TracedItem): void {
    const failed = outcome !== "ok";
    // The name holds the outcome: Perfetto chooses colours by name, ignoring digits. `cname` is for chrome://tracing.
    const name = failed ? JSON.stringify(`item ${index} ${outcome}`) : `"item ${index}"`;
    const args =
      `"index":${index},"attempt":${attempt},"pid":${pid ?? 0},"generation":${generation}` +
      `,"outcome":${failed ? JSON.stringify(outcome) : '"ok"'}` +
      (message === undefined ? "" : `,"message":${JSON.stringify(shortened(message))}`);
    this.#slice(this.#items, num, start, end, `${name},"cat":"item"${failed ? RED : ""}`, args);
  }

  /** Adds a child that has ended, or that is still alive when the trace ends. */
  child({ num, generation, pid, start, end, how }: ChildLife): void {
    const name = pid === undefined ? `child ${generation}` : `pid ${pid}`;
    const args = `"pid":${pid ?? 0},"generation":${generation},"end":${JSON.stringify(how)}`;
    this.#slice(this.#children, num, start, end, `"${name}","cat":"child"`, args);
  }

  /** Sets how many items run from `time` on. */
  inFlight(count: number, time: number): void {
    // At most a thousand points a second: a million would look the same, in a hundred times the size.
    if (this.#inFlight && time - this.#inFlightWritten >= COUNTER_INTERVAL_MS)
      this.#writeInFlight();
    this.#inFlight = { count, time };
  }

  /** Ends the file. Only warns if the file could not be written in full: the results do not depend on it. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#timer);
    this.#writeInFlight();
    this.#closed = true;
    this.#text += "\n]\n";
    this.#flush();
    closeSync(this.#fd);
    if (this.#error) {
      process.emitWarning(
        `The trace ${this.#file} is not complete: ${this.#error.message}`,
        "ForkmapWarning",
      );
    }
  }

  #slice(group: Group, num: number, start: number, end: number, named: string, args: string): void {
    // An event that began before the trace is shown from the beginning of the trace on.
    const wanted = Math.max(0, this.#nanoseconds(start));
    const row = group.rowFor(num, wanted, (each) => this.#write(each));
    const from = Math.max(wanted, row.freeFrom);
    const to = Math.max(from, this.#nanoseconds(end));
    // One ns later: a viewer that adds fractions of us may otherwise see two adjacent slices overlap.
    row.freeFrom = to + 1;
    this.#write(
      `{"ph":"X","name":${named},"pid":${group.id},"tid":${row.tid},"ts":${from / 1000}` +
        `,"dur":${(to - from) / 1000},"args":{${args}}}`,
    );
  }

  #writeInFlight(): void {
    if (!this.#inFlight) return;
    const { count, time } = this.#inFlight;
    this.#inFlight = undefined;
    this.#inFlightWritten = time;
    const ts = Math.max(0, this.#nanoseconds(time)) / 1000;
    this.#write(
      `{"ph":"C","name":"in flight","pid":${ITEMS},"tid":${ITEMS},"ts":${ts},"args":{"items":${count}}}`,
    );
  }

  /** Rounded, so that a start and an end at the same moment are written as the same number. */
  #nanoseconds(ms: number): number {
    return Math.round((ms - this.#startedAt) * 1e6);
  }

  #write(event: string): void {
    if (this.#closed || this.#error) return;
    this.#text += `,\n${event}`;
    if (this.#text.length >= FLUSH_LENGTH) this.#flush();
  }

  /** Writes whole events in one synchronous write: memory is bounded, and a file cut short ends between two events. */
  #flush(): void {
    if (this.#error || this.#text === "") return;
    try {
      writeFileSync(this.#fd, this.#text);
    } catch (error) {
      this.#error = error as Error;
    }
    this.#text = "";
  }
}

/** A row of slices in the viewer. */
interface Row {
  readonly tid: number;
  /** The first ns after the last slice on it. */
  freeFrom: number;
}

/**
 * The rows of items or of children; the format calls a group a process and a row a thread. Slices in a row must not
 * overlap, so slices of one num at the same time (`fibers`) get further rows below it. Asynchronous events would not
 * do: Perfetto gives each event name a row of its own, here one for each item.
 */
class Group {
  readonly id: number;
  readonly #firstTid: number;
  readonly #rows: Row[][] = [];

  constructor(id: number, firstTid: number) {
    this.id = id;
    this.#firstTid = firstTid;
  }

  /**
   * Returns the row of `num` that is free at `from` and has been free for the shortest time. As slices come in the
   * order of their ends, there are never more rows than there were slices at once.
   */
  rowFor(num: number, from: number, write: (event: string) => void): Row {
    const rows = (this.#rows[num] ??= []);
    let best: Row | undefined;
    for (const row of rows) {
      if (row.freeFrom <= from + TOLERANCE_NS && !(best && best.freeFrom > row.freeFrom))
        best = row;
    }
    if (best) return best;
    const tid = this.#firstTid + num * TIDS_OF_A_NUM + rows.length;
    const name = rows.length === 0 ? `num ${num}` : `num ${num} (${rows.length + 1})`;
    write(metadata("thread_name", this.id, tid, `"name":"${name}"`));
    write(metadata("thread_sort_index", this.id, tid, `"sort_index":${tid}`));
    const row = { tid, freeFrom: 0 };
    rows.push(row);
    return row;
  }
}

const ITEMS = 1;
const CHILDREN = 2;
/** Unique over both groups; below 2^32 for 400,000 nums. Perfetto reserves 0 and the number of the process. */
const FIRST_ITEM_TID = 10_000;
const FIRST_CHILD_TID = 15_000;
const TIDS_OF_A_NUM = 10_000;
/** Two processes may have read the clock: slices that overlap by no more than this are moved apart. */
const TOLERANCE_NS = 10_000;

/** About 400 items are written together. */
const FLUSH_LENGTH = 64 * 1024;
/** A killed program loses at most this much of a quiet run. */
const FLUSH_INTERVAL_MS = 1000;
const COUNTER_INTERVAL_MS = 1;
const MESSAGE_LENGTH = 1000;
const RED = ',"cname":"terrible"';

/** Shortens a message. `toWellFormed`: the cut may leave a lone surrogate, which makes Perfetto drop the event. */
function shortened(message: string): string {
  const short =
    message.length <= MESSAGE_LENGTH ? message : `${message.slice(0, MESSAGE_LENGTH)}...`;
  return short.toWellFormed();
}

function opening(worker: string): string {
  const names = [
    [ITEMS, worker],
    [CHILDREN, `${worker}: children`],
  ] as const;
  const events = names.flatMap(([group, name]) => [
    metadata("process_name", group, group, `"name":${JSON.stringify(name)}`),
    metadata("process_sort_index", group, group, `"sort_index":${group}`),
  ]);
  return `[\n${events.join(",\n")}`;
}

function metadata(name: string, group: number, tid: number, args: string): string {
  return `{"ph":"M","name":"${name}","pid":${group},"tid":${tid},"ts":0,"args":{${args}}}`;
}
