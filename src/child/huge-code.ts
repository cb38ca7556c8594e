/**
 * Moves the busy parts of Node's own code to huge pages. A forked child maps each page of code it uses anew, by a fault
 * for every 16 of them, and unmaps them one by one at its end: some 1,800 pages for an item that does nothing. A huge
 * page takes the place of 512 and is mapped by the fork itself: a tenth of the time of a small item.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { HUGE_PAGE_BYTES, type Libc } from "./libc.js";

/** In one huge page's worth of code: with fewer in use, 2 MiB for them are too much. */
const BUSY_PAGES = 128;
const PAGE_BYTES = 4096;
/** An entry of /proc/self/pagemap (proc_pid_pagemap(5)); its highest bit says that the page is mapped. */
const ENTRY_BYTES = 8;
const PRESENT = 0x80;

export interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly executable: boolean;
}

/** What of the code `act` uses: that should be what children will do. */
export async function findBusyCode(libc: Libc, act: () => Promise<void>): Promise<Mapping[]> {
  const mappings = mappingsOfCode();
  for (const { start, end } of mappings) libc.unmapPages(start, end - start);
  await act();
  const pagemap = openSync("/proc/self/pagemap", "r");
  try {
    return mappings.flatMap((mapping) => busyParts(mapping, pagemap));
  } finally {
    closeSync(pagemap);
  }
}

/** Takes 10 to 20 ms, more where memory is fragmented. Where the kernel has no huge pages, all stays as it is. */
export function moveToHugePages(libc: Libc, code: readonly Mapping[]): void {
  for (const { start, end, executable } of code) {
    if (!libc.moveToHugePages(start, end - start, executable)) return;
  }
}

/** Those of its huge pages' worths that are in use, side by side as one: every mapping costs each fork a microsecond. */
function busyParts({ start, end, executable }: Mapping, pagemap: number): Mapping[] {
  const parts: Mapping[] = [];
  const first = Math.ceil(start / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES;
  for (let at = first; at + HUGE_PAGE_BYTES <= end; at += HUGE_PAGE_BYTES) {
    if (countMapped(pagemap, at) < BUSY_PAGES) continue;
    const isNext = parts.at(-1)?.end === at;
    const partStart = isNext ? parts.pop()!.start : at;
    parts.push({ start: partStart, end: at + HUGE_PAGE_BYTES, executable });
  }
  return parts;
}

/** Code and constants of the binary and its libraries. Not what the loader has written to, which is in no file. */
function mappingsOfCode(): Mapping[] {
  return [...readFileSync("/proc/self/smaps", "latin1").matchAll(MAPPING)].map(
    ([, start, end, x]) => ({
      start: Number.parseInt(start!, 16),
      end: Number.parseInt(end!, 16),
      executable: x === "x",
    }),
  );
}

/** Of a file, read-only, and without a page that differs from the file (proc_pid_smaps(5)). */
const MAPPING = /^(\w+)-(\w+) r-([x-])p \w+ \S+ [1-9]\d* +\/(?:.*\n[A-Z])*?nonymous: +0 kB$/gm;

function countMapped(pagemap: number, start: number): number {
  const entries = Buffer.alloc((HUGE_PAGE_BYTES / PAGE_BYTES) * ENTRY_BYTES);
  readSync(pagemap, entries, 0, entries.length, (start / PAGE_BYTES) * ENTRY_BYTES);
  let mapped = 0;
  for (let i = ENTRY_BYTES - 1; i < entries.length; i += ENTRY_BYTES) {
    if (entries[i]! & PRESENT) mapped += 1;
  }
  return mapped;
}
