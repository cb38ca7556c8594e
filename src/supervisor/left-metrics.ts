/**
 * What children have counted that are gone: those of a set that a restart has replaced, or of a pool that was closed. It is in their files until a supervisor
 * has saved it, once their run is over (see `markOver`), or until their program ends.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import {
  METRICS_FILE,
  metricsFile,
  type Metric,
  ownerIn,
  readMetrics,
} from "../wire/metrics-file.js";
import { OVER_FILE, overFile } from "../wire/run-over.js";
import type { NumMetric, NumMetrics } from "./metric-families.js";

/** @param present - those that are not gone */
export function metricsLeft(directory: string, present: readonly NumMetrics[]): NumMetrics[] {
  const files = readdirSync(directory);
  const known = new Set(present.map(({ run = "", num, name }) => metricsFile({ run, num, name })));
  // A child whose connection has not ended yet was read before its run was over: the next time, then.
  const goesOn = new Set(present.map(({ run }) => run));
  const left: NumMetrics[] = [];
  for (const file of files) {
    const [, run, , num] = METRICS_FILE.exec(file) ?? [];
    if (run === undefined || known.has(file)) continue;
    const content = contentOf(`${directory}/${file}`);
    if (content === undefined) goesOn.add(run);
    left.push({ ...NOBODY, ...content, run, num: Number(num) });
  }
  for (const file of files) {
    const run = OVER_FILE.exec(file)?.[1];
    if (run !== undefined && !goesOn.has(run)) left.push({ ...NOBODY, run, isOver: true });
  }
  return left;
}

/** Removes the files of these runs, whose counts are saved. */
export function removeLeft(directory: string, runs: ReadonlySet<string>): void {
  if (runs.size === 0) return;
  const files = readdirSync(directory).filter((file) => {
    const run = METRICS_FILE.exec(file)?.[1];
    return run !== undefined && runs.has(run);
  });
  for (const file of files) rmSync(`${directory}/${file}`, { force: true });
  // Last: whoever finds no mark takes the files for those of a run that goes on.
  for (const run of runs) rmSync(`${directory}/${overFile(run)}`, { force: true });
}

/** Stands for a run that is there, though nothing is known of its children. */
const NOBODY: NumMetrics = {
  num: 0,
  name: "",
  pool: undefined,
  state: "ended",
  restarts: undefined,
  failures: undefined,
  metrics: new Map(),
};

type Content = Pick<NumMetrics, "name" | "pool" | "metrics">;

/** Returns undefined if it cannot be read: no descriptor is free, or its program has removed it. */
function contentOf(file: string): Content | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    return undefined;
  }
  const metrics = readMetrics(bytes);
  // Its child has ended before it could count.
  if (!metrics) return NOBODY;
  const owner = ownerIn(bytes);
  return owner && { name: owner.name, pool: owner.pool, metrics: new Map(metrics.map(entryOf)) };
}

function entryOf({ name, ...facts }: Metric): [string, NumMetric] {
  return [name, facts];
}
