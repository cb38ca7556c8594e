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
  const known = new Set(present.map(({ run = "", num, name }) => metricsFile({ run, num, name })));
  const runs = new Set(present.map(({ run }) => run));
  return readdirSync(directory).flatMap((file) => {
    const over = OVER_FILE.exec(file)?.[1];
    // A child whose connection has not ended yet was read before the mark was seen: the next time, then.
    if (over !== undefined) return runs.has(over) ? [] : [{ ...NOBODY, run: over, isOver: true }];
    const [, run, , num] = METRICS_FILE.exec(file) ?? [];
    if (run === undefined || known.has(file)) return [];
    return [{ ...contentOf(`${directory}/${file}`), run, num: Number(num) }];
  });
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

function contentOf(file: string): NumMetrics {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    // No descriptor is free, or its program has removed it.
    return NOBODY;
  }
  const owner = ownerIn(bytes);
  const metrics = readMetrics(bytes);
  if (!owner || !metrics) return NOBODY;
  const { name, pool } = owner;
  return { ...NOBODY, name, pool, metrics: new Map(metrics.map(entryOf)) };
}

function entryOf({ name, ...facts }: Metric): [string, NumMetric] {
  return [name, facts];
}
