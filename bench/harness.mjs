/**
 * Shared by all benches: the flags, rounds in which every contender has its turn, medians, Markdown tables and the
 * lines that compare a figure with its target. It does not depend on what is measured.
 *
 * No tinybench here: it runs all iterations of one task before the next, so that on a machine whose speed drifts
 * tasks run at different speeds; and an "iteration" here is a batch of processes that takes seconds.
 */
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

// It makes every Node process read and parse a file of certificates as it starts, which no bench is meant to measure.
delete process.env.NODE_EXTRA_CA_CERTS;
// Options for this process (a debugger, coverage) would reach the children of some contenders and not of others.
delete process.env.NODE_OPTIONS;

/** Pools replace a used child in the background; the pause keeps its start out of the next contender's turn. */
const SETTLE_MS = 250;

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", default: "" },
    except: { type: "string" },
  },
});

/** A smoke test of a few seconds: its figures mean nothing. */
export const quick = flags.quick;
export const rounds = Number(flags.rounds ?? (quick ? 1 : 5));
if (!Number.isInteger(rounds) || rounds < 1) {
  console.error(`--rounds: expected a whole number of at least 1, got "${flags.rounds}"`);
  process.exit(2);
}

/** `full`, or `small` with --quick. */
export function size(full, small) {
  return quick ? small : full;
}

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {string} [group] contenders of one group share a table; rounds go over all groups
 * @property {() => unknown} [open] once, not measured; throws a `Skip` when the contender cannot take part
 * @property {() => unknown} [warm] once after `open`, not measured
 * @property {() => unknown} run one turn; returns its own figure (such as ms measured by a separate program) or nothing
 * @property {() => unknown} [close] once, at the end
 */

/** The reason why a contender does not take part. */
export class Skip extends Error {}

/**
 * Rounds over all contenders, A B C A B C ..., so that drift affects all alike.
 *
 * @param {Contender[]} contenders
 * @returns {Promise<Map<string, number[]>>} a figure per round by `key`; the time of the turn in ms where `run` gave none
 */
export async function race(contenders) {
  const wanted = contenders.filter((each) => isWanted(key(each)));
  const racing = [];
  for (const contender of wanted) {
    try {
      await contender.open?.();
      await contender.warm?.();
      racing.push(contender);
    } catch (error) {
      if (!(error instanceof Skip)) throw error;
      console.log(`skipped: ${key(contender)}: ${error.message}`);
    }
  }
  const figures = new Map(racing.map((each) => [key(each), []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of racing) {
      if (!quick) await sleep(SETTLE_MS);
      const start = performance.now();
      const own = await contender.run();
      figures.get(key(contender)).push(own ?? performance.now() - start);
    }
    console.error(`round ${round + 1} of ${rounds}`);
  }
  await Promise.all(racing.map((contender) => contender.close?.()));
  return figures;
}

/** Whether `--only` and `--except` leave it in. */
export function isWanted(text) {
  if (flags.except !== undefined && text.includes(flags.except)) return false;
  return text.includes(flags.only);
}

export function key({ group, name }) {
  return group === undefined ? name : `${group}: ${name}`;
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The ratio a / b: the median of the ratios within each round. `undefined` if one of them did not run. */
export function ratio(a, b) {
  if (!a || !b) return undefined;
  return median(a.map((value, round) => value / b[round]));
}

export function times(value) {
  return value === undefined ? "" : `${digits(value)}x`;
}

/** Three significant digits, and never an exponent. */
export function digits(value) {
  if (!Number.isFinite(value)) return String(value);
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3);
}

export function span(values) {
  return `${digits(Math.min(...values))} - ${digits(Math.max(...values))}`;
}

export function heading(title) {
  console.log(`\n### ${title}\n`);
}

/** A Markdown table; all columns but the first are figures. */
export function table(columns, rows) {
  console.log(`| ${columns.join(" | ")} |`);
  console.log(`|${columns.map((_, i) => (i === 0 ? "---" : "--:")).join("|")}|`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
}

/** Prints a target. Informative: a target that is not met fails no bench. */
export function target(text, measured, met, format = times) {
  if (measured === undefined) return;
  const verdict = quick ? "not judged (--quick)" : met(measured) ? "met" : "not met";
  console.log(`- target: ${text}; measured: ${format(measured)}; ${verdict}`);
}

export function atLeast(limit) {
  return (value) => value >= limit;
}

export function atMost(limit) {
  return (value) => value <= limit;
}

/** Runs `run(0)` to `run(count - 1)`, `width` at a time; resolves with the results in order. */
export async function inParallel(count, width, run) {
  const results = Array.from({ length: count });
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      results[index] = await run(index);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}

/** @throws when the results of a contender are wrong */
export function expectSame(got, expected, who) {
  if (JSON.stringify(got) === JSON.stringify(expected)) return;
  throw new Error(`${who} gave wrong results: ${JSON.stringify(got)?.slice(0, 200)}`);
}

export function introduce(title) {
  const { model } = cpus()[0];
  const machine = `${model} x ${cpus().length}, ${process.platform} ${process.arch}`;
  console.log(`## ${title}\n`);
  console.log(
    `Node ${process.version}, ${machine}, ${new Date().toISOString().slice(0, 10)}; ${rounds} rounds${quick ? ", quick" : ""}.`,
  );
}
