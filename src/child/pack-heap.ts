/**
 * Makes a large heap cheap to fork. V8 asks for each 256 KiB of its heap at a random address (v8::base::OS,
 * GetRandomMmapAddr, 46 bits): a mapping of its own, with page tables of its own, that never fills a huge page. While all
 * those addresses are taken, the kernel puts what V8 asks for side by side instead: then huge pages can hold it.
 */
import { readFileSync } from "node:fs";
import type { Libc, Range } from "./libc.js";

/** Below it the C heap has room to grow, behind the program. */
const FIRST_ADDRESS = 2 ** 36;
/** From here on the kernel places what it is free to place. */
const LAST_ADDRESS = 2 ** 46;
/** Reading /proc may itself make V8 map something where we are about to reserve. */
const MAX_PASSES = 4;

/**
 * Has V8 allocate in one place while `load` runs. It takes addresses, no memory; where a limit forbids that, nothing
 * changes.
 */
export async function packHeap<T>(libc: Libc, load: () => Promise<T>): Promise<T> {
  const reserved: Range[] = [];
  let isComplete = false;
  for (let pass = 0; !isComplete && pass < MAX_PASSES; pass += 1) {
    const gaps = freeAddresses();
    if (gaps.length === 0) break;
    const taken = gaps.filter((gap) => libc.reserve(gap));
    reserved.push(...taken);
    isComplete = taken.length === gaps.length;
  }
  try {
    return await load();
  } finally {
    for (const range of reserved) libc.release(range);
  }
}

function freeAddresses(): Range[] {
  const gaps: Range[] = [];
  let at = FIRST_ADDRESS;
  for (const [, from, to] of readMaps().matchAll(MAPPING)) {
    const end = Math.min(Number.parseInt(from!, 16), LAST_ADDRESS);
    if (end > at) gaps.push({ start: at, end });
    at = Math.max(at, Number.parseInt(to!, 16));
  }
  return gaps;
}

/** Of no mapping when it cannot be read: then nothing is packed. */
function readMaps(): string {
  try {
    return readFileSync("/proc/self/maps", "latin1");
  } catch {
    return "";
  }
}

const MAPPING = /^(\w+)-(\w+) /gm;
