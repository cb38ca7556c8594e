/** Reads a trace as Perfetto's importer does, but more strictly: every event has the fields of its phase, and slices nest. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";

export interface TraceEvent {
  readonly ph: "X" | "M" | "C";
  readonly name: string;
  readonly cat?: string;
  readonly pid: number;
  readonly tid: number;
  /** In us. */
  readonly ts: number;
  readonly dur?: number;
  readonly args: Readonly<Record<string, string | number>>;
}

export interface TraceRow {
  /** Name of the group, a colon, name of the row. */
  readonly name: string;
  readonly slices: readonly TraceEvent[];
}

/** Returns the events of a file; `cut` if its program was killed, so that the end of the array is missing. */
export function readTrace(file: string, { cut = false } = {}): TraceEvent[] {
  const text = readFileSync(file, "utf8");
  // Both viewers accept an array without its end.
  const events = JSON.parse(cut ? `${text.trimEnd()}]` : text) as TraceEvent[];
  for (const event of events) expectEvent(event);
  for (const { name, slices } of rowsOf(events)) expectNested(name, slices);
  return events;
}

/** Returns the rows from top to bottom, each with its slices from left to right. */
export function rowsOf(events: readonly TraceEvent[]): TraceRow[] {
  const names = namesOf(events, "thread_name");
  const groups = namesOf(events, "process_name");
  const order = new Map(
    events
      .filter(({ name }) => name === "thread_sort_index")
      .map(({ tid, args }) => [tid, Number(args["sort_index"])]),
  );
  const slices = new Map<number, TraceEvent[]>();
  for (const event of events) {
    if (event.ph !== "X") continue;
    const own = slices.get(event.tid);
    if (own) own.push(event);
    else slices.set(event.tid, [event]);
  }
  for (const tid of slices.keys()) expect(names.has(tid), `row ${tid} has a name`).toBe(true);
  return [...slices]
    .sort(([a], [b]) => order.get(a)! - order.get(b)!)
    .map(([tid, own]) => ({
      name: `${groups.get(own[0].pid)}: ${names.get(tid)}`,
      slices: own.toSorted((a, b) => a.ts - b.ts),
    }));
}

function namesOf(events: readonly TraceEvent[], kind: string): Map<number, string> {
  const named = events.filter(({ name }) => name === kind);
  const names = new Map(
    named.map(({ pid, tid, args }) => [kind === "process_name" ? pid : tid, String(args["name"])]),
  );
  expect(names.size, `${kind}: one for each`).toBe(named.length);
  return names;
}

function expectEvent(event: TraceEvent): void {
  const { ph, name, pid, tid, ts, dur, args } = event;
  const what = JSON.stringify(event);
  // Both are stored in 32 bits; thread 0 is the idle thread.
  for (const id of [pid, tid]) {
    expect(Number.isInteger(id) && id > 0 && id < 2 ** 32, what).toBe(true);
  }
  expect(typeof name === "string" && name !== "", what).toBe(true);
  expect(Number.isFinite(ts) && ts >= 0, what).toBe(true);
  expect(typeof args === "object" && args !== null, what).toBe(true);
  for (const value of Object.values(args)) expect(typeof value, what).toMatch(/^(string|number)$/);
  if (ph === "X") expect(Number.isFinite(dur) && dur! >= 0, what).toBe(true);
  else if (ph === "C") expect(Object.values(args).every(Number.isFinite), what).toBe(true);
  else {
    expect(ph, what).toBe("M");
    expect(name, what).toMatch(/^(process|thread)_(name|sort_index)$/);
  }
}

/** Checks that a slice lies within those that began before it and have not ended, in the arithmetic of both viewers. */
function expectNested(row: string, slices: readonly TraceEvent[]): void {
  // Perfetto reads whole ns, chrome://tracing fractions of us.
  for (const unit of [(us: number) => Math.round(us * 1000), (us: number) => us]) {
    const open: number[] = [];
    for (const slice of slices.toSorted((a, b) => a.ts - b.ts || b.dur! - a.dur!)) {
      const from = unit(slice.ts);
      const to = from + unit(slice.dur!);
      while (open.length > 0 && open.at(-1)! <= from) open.pop();
      expect(
        open.every((end) => end >= to),
        `${row}: ${slice.name} nests`,
      ).toBe(true);
      open.push(to);
    }
  }
}
