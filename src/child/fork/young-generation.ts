/**
 * Keeps V8's young generation in the fork server at its initial size, two halves of 1 MiB. It would double while the
 * worker loads and again some hundred forks later. Each 256 KiB of it is a mapping at a random address with its own
 * page tables, and every fork copies them all, though half of them are empty: with 16 more mappings, an item took a
 * tenth longer.
 *
 * In children the young generation grows as usual: otherwise a child that creates many objects took a quarter longer.
 */
import { setFlagsFromString } from "node:v8";
import { collectGarbage } from "./collect-garbage.js";

/** The fork server allocates some 350 KiB in so many forks: V8 does not collect by itself before. */
const FORKS_BETWEEN = 64;
/** V8's own default. */
const USUAL_GROWTH = "2";
/** V8 grows the young generation once survivors of collections add up to its size, and then counts from zero again. */
const COLLECTIONS_TO_COUNT_ANEW = 3;

const GROWTH_FLAG = /^--semi[-_]space[-_]growth[-_]factor=(\d+)$/;

/** Read when this module is loaded: find-worker.ts replaces `process.execArgv`. */
const growth = ownGrowth();
let forks = 0;

/** Stops the growth. Called before much is loaded. */
export function keepYoungGeneration(): void {
  setGrowth("1");
}

/** Lets the young generation grow in V8's own collections, which only children have. */
export function letYoungGenerationGrow(): void {
  setGrowth(growth);
}

/** Makes loaded objects old, and V8 count anew. */
export function ageYoungGeneration(): void {
  for (let i = 0; i < COLLECTIONS_TO_COUNT_ANEW; i += 1) collectGarbage("minor");
}

/** Runs work of the fork server that may make V8 collect. */
export function withoutGrowth(work: () => void): void {
  setGrowth("1");
  try {
    work();
  } finally {
    setGrowth(growth);
  }
}

/** Collects before V8 would do it by itself. Called after every fork. */
export function afterFork(): void {
  forks += 1;
  if (forks % FORKS_BETWEEN === 0) withoutGrowth(() => collectGarbage("minor"));
}

function setGrowth(factor: string): void {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}

function ownGrowth(): string {
  const flag = process.execArgv.findLast((each) => GROWTH_FLAG.test(each));
  return GROWTH_FLAG.exec(flag ?? "")?.[1] ?? USUAL_GROWTH;
}
