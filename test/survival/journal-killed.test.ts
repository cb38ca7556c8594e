/** A journaled run is killed at any time, and so is its rerun: reported items are not run again, and no result is lost. */
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { descendants } from "../support/leftovers.js";
import { type Program, program } from "../support/program.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const ITEMS = 5000;
/** The size of an entry that the program writes. */
const BYTES_PER_LINE = 8;
/** One in so many runs is killed before it has finished any item, or just after. */
const EARLY = 4;
const STARTUP_MS = 250;
/** The largest part of the remaining items after which a run is killed, so that some are left for the next run. */
const MOST = 0.6;
const AT_ONCE = 2;
/** Twenty, unless the run is one of several (.ci/test-on-node). */
const KILLS = 2 * Number(process.env["FORKMAP_CHAOS_ROUNDS"] ?? 10);
/** The number of times that the runs of one journal are killed, before one of them finishes. */
const KILLS_OF_ONE = 4;

interface Run {
  readonly program: Program;
  readonly ran: string;
  readonly finished: string;
  readonly out: string;
}

test(`killed ${KILLS} times`, { timeout: 240_000 }, async () => {
  const root = temporaryDirectory();
  const unbroken = start(root, "unbroken", "");
  expect(await unbroken.program.ended).toMatchObject({ code: 0, stderr: "" });
  const wanted = readFileSync(unbroken.out, "utf8");

  let next = 0;
  let kills = 0;
  // A run may finish before it is killed, if this process is delayed: then another one is started.
  const inTurn = async () => {
    while (next < KILLS / KILLS_OF_ONE || kills < KILLS) {
      const directory = path.join(root, String((next += 1)));
      mkdirSync(directory);
      const { result, again, killed } = await round(directory);
      expect(result).toBe(wanted);
      expect(again).toEqual([]);
      kills += killed;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, inTurn));
  expect(kills).toBeGreaterThanOrEqual(KILLS);
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
});

/** Runs that are killed, and a last one that finishes. */
async function round(directory: string) {
  const reported = new Set<number>();
  const again: number[] = [];
  let killed = 0;
  for (let number = 0; ; number += 1) {
    const run = start(directory, String(number), path.join(directory, "journal"));
    const isLast = number === KILLS_OF_ONE;
    if (!isLast) await killAtSomeMoment(run, reported.size);
    const { signal, code, stderr } = await run.program.ended;
    if (signal === "SIGKILL") killed += 1;
    else expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    again.push(...numbers(run.ran).filter((n) => reported.has(n)));
    for (const n of numbers(run.finished)) reported.add(n);
    if (isLast) return { result: readFileSync(run.out, "utf8"), again, killed };
  }
}

async function killAtSomeMoment({ program, finished }: Run, done: number): Promise<void> {
  let isOver = false;
  void program.ended.then(() => (isOver = true));
  if (randomInt(EARLY) === 0) await sleep(randomInt(STARTUP_MS));
  else {
    const wanted = randomInt(Math.ceil((ITEMS - done) * MOST) + 1);
    while (!isOver && sizeOf(finished) <= wanted * BYTES_PER_LINE) await sleep(1);
  }
  program.kill("SIGKILL");
}

function start(directory: string, name: string, journal: string): Run {
  const file = (kind: string) => path.join(directory, `${name}-${kind}`);
  const [ran, finished, out] = [file("ran"), file("finished"), file("out")];
  const args = [String(ITEMS), journal, ran, finished, out];
  return { program: program("journaled-run.mjs", args), ran, finished, out };
}

function sizeOf(file: string): number {
  return existsSync(file) ? statSync(file).size : 0;
}

/** Reads whole lines only: the last line of a killed process may be cut off. */
function numbers(file: string): number[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split("\n").slice(0, -1).map(Number);
}
