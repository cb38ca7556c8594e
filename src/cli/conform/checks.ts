/**
 * The folder holds the checks of `forkmap conform`. Here: all of them in the order in which they run, and the
 * conditions under which one is skipped.
 */
import {
  answersItem,
  doesAnItem,
  ignoresUnknownFields,
  readsItemFile,
  readsLongLine,
  sendsIdBack,
  servesMany,
} from "./answer-checks.js";
import type { Bench } from "./bench.js";
import { type Check, skipped, type Verdict } from "./check.js";
import { endsOnSigterm, endsWithInput, leavesNothing } from "./end-checks.js";
import { answersSeveralAtOnce } from "./fibers-check.js";
import { canBeStarted, waitsQuietly } from "./start-checks.js";

export interface ChecksOptions {
  readonly items: readonly unknown[];
  readonly fibers: boolean;
}

export function checksFor({ items, fibers }: ChecksOptions): readonly Check[] {
  return [
    canBeStarted,
    waitsQuietly,
    ...items.map((item) => answersItem(item)),
    doesAnItem,
    sendsIdBack,
    servesMany,
    ignoresUnknownFields,
    readsLongLine,
    readsItemFile,
    ...(fibers ? [answersSeveralAtOnce] : []),
    endsWithInput,
    endsOnSigterm,
    leavesNothing,
  ];
}

export async function make(check: Check, bench: Bench): Promise<Verdict> {
  if (check.needs !== undefined && bench.obstacle !== undefined) return skipped(bench.obstacle);
  if (check.needs === "answer" && bench.known.length === 0)
    return skipped("it has answered no item");
  return await check.run(bench);
}
