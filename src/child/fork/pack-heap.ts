/**
 * Makes a large heap cheap to fork. V8 requests each 256 KiB of its heap at a random address (v8::base::OS,
 * GetRandomMmapAddr, 46 bits): a separate mapping with its own page tables, too small for a huge page. While all those
 * addresses are reserved, the kernel places V8's memory side by side instead, where huge pages can hold it.
 */
import { readFileSync } from "node:fs";
import {
  type Libc,
  loadLibc,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE_ANONYMOUS,
  PROT_NONE,
  type Range,
} from "../libc.js";

/** Addresses below stay free: the C heap grows there, behind the program. */
const FIRST_ADDRESS = 2 ** 36;
/** Above lie the mappings whose addresses the kernel chooses itself. */
const LAST_ADDRESS = 2 ** 46;
/** Reading /proc may make V8 map memory where we are about to reserve: another pass is needed. */
const MAX_PASSES = 4;

let reserved: readonly Range[] = [];

/**
 * Makes V8 allocate in one place. This takes addresses but no memory. If a limit forbids it or koffi is missing,
 * nothing changes.
 */
export function packHeap(): void {
  let libc: Libc;
  try {
    libc = loadLibc();
  } catch {
    // The fork server reports this when it boots.
    return;
  }
  const taken: Range[] = [];
  for (let pass = 0; pass < MAX_PASSES; pass += 1) {
    const gaps = freeAddresses();
    const free = gaps.filter((gap) => reserve(libc, gap));
    taken.push(...free);
    if (gaps.length === 0 || free.length === gaps.length) break;
  }
  reserved = taken;
}

/** Lets V8 allocate anywhere again. Called before the first fork: every fork would copy the reservations. */
export function letHeapSpread(libc: Libc): void {
  for (const { start, end } of reserved) libc.unmap(start, end - start);
  reserved = [];
}

/** Maps the range without memory, so that nothing else is mapped there. Returns `false` if it is not free. */
function reserve(libc: Libc, { start, end }: Range): boolean {
  const bytes = end - start;
  const flags = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  const place = libc.map(start, bytes, PROT_NONE, flags);
  // Before Linux 4.17 the last flag is unknown, and the kernel may choose another place.
  if (place !== undefined && place !== start) libc.unmap(place, bytes);
  return place === start;
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

/** Returns "" if the file cannot be read: then nothing is packed. */
function readMaps(): string {
  try {
    return readFileSync("/proc/self/maps", "latin1");
  } catch {
    return "";
  }
}

const MAPPING = /^(\w+)-(\w+) /gm;
