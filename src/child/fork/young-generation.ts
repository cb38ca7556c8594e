/**
 * Keeps V8's young generation as small as it is at first in the fork server: two halves of 1 MiB. By itself it doubles while
 * the worker loads and again some hundred forks later. Each 256 KiB of it is a mapping at a random address with page tables
 * of its own, and every fork copies them all, though half of them are empty: with 16 more of them, an item took a tenth longer.
 *
 * In children it grows as ever: without that, one that makes many objects took a quarter longer.
 */
import { setFlagsFromString } from "node:v8";
import { collectGarbage } from "./collect-garbage.js";

/** Some 350 KiB of what the fork server makes for each fork: V8 does not collect by itself before. */
const FORKS_BETWEEN = 64;
/** V8's own default. */
const USUAL_GROWTH = "2";
/** It grows once so much has outlived collections as it holds; these count anew once it would have. */
const COLLECTIONS_TO_COUNT_ANEW = 3;

const GROWTH_FLAG = /^--semi[-_]space[-_]growth[-_]factor=(\d+)$/;

const growth = ownGrowth();
let forks = 0;

/** From now on. To be called before much is loaded, and before `process.execArgv` is the parent's. */
export function keepYoungGeneration(): void {
  setGrowth("1");
}

/** From now on it grows where V8 collects by itself, which is in children. What has been loaded is old by then. */
export function letYoungGenerationGrow(): void {
  for (let i = 0; i < COLLECTIONS_TO_COUNT_ANEW; i += 1) collectGarbage("minor");
  setGrowth(growth);
}

/** To be called after every fork: collects before V8 does. */
export function afterFork(): void {
  forks += 1;
  if (forks % FORKS_BETWEEN !== 0) return;
  setGrowth("1");
  collectGarbage("minor");
  setGrowth(growth);
}

function setGrowth(factor: string): void {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}

function ownGrowth(): string {
  const flag = process.execArgv.findLast((each) => GROWTH_FLAG.test(each));
  return GROWTH_FLAG.exec(flag ?? "")?.[1] ?? USUAL_GROWTH;
}
