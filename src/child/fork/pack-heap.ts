/**
 * Makes a large heap cheap to fork. V8 asks for each 256 KiB of its heap at a random address (v8::base::OS,
 * GetRandomMmapAddr, 46 bits): a mapping of its own, with page tables of its own, that never fills a huge page. While all
 * those addresses are taken, the kernel puts what V8 asks for side by side instead: then huge pages can hold it.
 */
import { readFileSync } from "node:fs";
import { type Libc, loadLibc, type Range } from "../libc.js";

/** Below it the C heap has room to grow, behind the program. */
const FIRST_ADDRESS = 2 ** 36;
/** From here on the kernel places what it is free to place. */
const LAST_ADDRESS = 2 ** 46;
/** Reading /proc may itself make V8 map something where we are about to reserve. */
const MAX_PASSES = 4;

let reserved: readonly Range[] = [];

/**
 * From now on, V8 allocates in one place. It takes addresses, no memory; where a limit forbids that, or there is no koffi,
 * nothing changes.
 */
export function packHeap(): void {
  let libc: Libc;
  try {
    libc = loadLibc();
  } catch {
    // Told by those who cannot do without it.
    return;
  }
  const taken: Range[] = [];
  for (let pass = 0; pass < MAX_PASSES; pass += 1) {
    const gaps = freeAddresses();
    const free = gaps.filter((gap) => libc.reserve(gap));
    taken.push(...free);
    if (gaps.length === 0 || free.length === gaps.length) break;
  }
  reserved = taken;
}

/** Has V8 allocate anywhere again. Children must: what is reserved would be part of each. */
export function letHeapSpread(libc: Libc): void {
  for (const range of reserved) libc.release(range);
  reserved = [];
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
