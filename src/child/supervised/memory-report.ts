/** Sums allocations by package, file, location and class, the largest first. */
import type { Allocations, Frame } from "./allocations.js";
import type { AllocationReport, Breakdown, ReportLine } from "../../wire/memory-sample.js";
import { CodeOrigins } from "./code-origin.js";

/** How many lines each part of a report has, unless told. */
export const TOP = 50;

export function reportOf(allocations: Iterable<Allocations>, top: number): AllocationReport {
  const origins = new CodeOrigins();
  const packages = new Sums();
  const files = new Sums();
  const locations = new Sums<{ function: string; file: string; line: number; calledBy?: string }>();
  const classes = new Sums();
  const all = new Sums();
  for (const each of allocations) {
    const { frame, calledBy } = each.site;
    const origin = origins.of(frame.script);
    all.add("", each);
    packages.add(origin.package, each);
    files.add(origin.file, each);
    if (each.className !== undefined) classes.add(each.className, each);
    const name = placeOf(frame, origin.file);
    const caller = calledBy && placeOf(calledBy, origins.of(calledBy.script).file);
    locations.add(`${name}\n${caller ?? ""}`, each, () => ({
      function: frame.name || "(anonymous)",
      file: origin.file,
      line: frame.line,
      ...(caller !== undefined && { calledBy: caller }),
    }));
  }
  const { bytes = 0, count } = all.breakdown(1).top[0] ?? {};
  return {
    bytes,
    ...(count !== undefined && { count }),
    packages: packages.breakdown(top),
    files: files.breakdown(top),
    locations: locations.breakdown(top),
    ...(!classes.isEmpty && { classes: classes.breakdown(top) }),
  };
}

function placeOf({ name, line }: Frame, file: string): string {
  return `${name || "(anonymous)"} (${file}${line > 0 ? `:${line}` : ""})`;
}

interface Sum<More> {
  bytes: number;
  count: number | undefined;
  readonly more: More | undefined;
}

/** A key may go on after a line break, which the report leaves out. */
class Sums<More extends object = object> {
  readonly #sums = new Map<string, Sum<More>>();

  get isEmpty(): boolean {
    return this.#sums.size === 0;
  }

  add(key: string, { bytes, count }: Allocations, more?: () => More): void {
    const sum = this.#sums.get(key);
    if (!sum) {
      this.#sums.set(key, { bytes, count, more: more?.() });
      return;
    }
    sum.bytes += bytes;
    if (count !== undefined) sum.count = (sum.count ?? 0) + count;
  }

  breakdown(top: number): Breakdown<ReportLine & More> {
    const sorted = [...this.#sums].toSorted(([, a], [, b]) => b.bytes - a.bytes);
    const lines = sorted.slice(0, top).map(
      ([key, { bytes, count, more }]) =>
        ({
          name: key.split("\n", 1)[0]!,
          bytes,
          ...(count !== undefined && { count }),
          ...more,
        }) as ReportLine & More,
    );
    return { top: lines, omitted: totalOf(sorted.slice(top).map(([, sum]) => sum)) };
  }
}

/** Of lines that are left out. */
export function totalOf(
  sums: readonly { readonly bytes?: number; readonly count?: number | undefined }[],
): Breakdown["omitted"] {
  const total = (name: "bytes" | "count") =>
    sums.reduce<number | undefined>((sum, { [name]: value }) => {
      return value === undefined ? sum : (sum ?? 0) + value;
    }, undefined);
  const [bytes, count] = [total("bytes"), total("count")];
  return {
    lines: sums.length,
    ...(bytes !== undefined && { bytes }),
    ...(count !== undefined && { count }),
  };
}
