/**
 * Makes forks faster with huge pages, each of which replaces 512 pages:
 *
 * - for the busy parts of Node's own code. A child maps each page of code it uses again, with a page fault for every
 *   16, and unmaps them one by one at its end: some 1,800 pages for an item that does nothing, a tenth of its time.
 * - for large pieces of memory, such as buffers that `preload` has filled: a fork copies all page tables.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import {
  HUGE_PAGE_BYTES,
  type Libc,
  MADV_COLLAPSE,
  MADV_DONTNEED,
  MADV_HUGEPAGE,
  MAP_PRIVATE_ANONYMOUS,
  PROT_READ,
  PROT_READ_EXEC,
  PROT_READ_WRITE,
  type Range,
} from "../libc.js";

/** Pages in use per huge page of code: with fewer, a huge page wastes too much of its 2 MiB. */
const BUSY_PAGES = 128;
/** The part of a mapping that must be in use: a huge page uses memory for the rest too. */
const MIN_USED = 0.75;
const PAGE_BYTES = 4096;
/** Size of an entry of /proc/self/pagemap (proc_pid_pagemap(5)); its highest bit is set if the page is mapped. */
const ENTRY_BYTES = 8;
const PRESENT = 0x80;

interface Mapping extends Range {
  readonly executable: boolean;
}

/**
 * Returns the steps that move memory to huge pages, each of which takes some ms: code first, one large piece a step after
 * it. No steps if /proc cannot be read, as it is not mounted or no descriptor is free.
 *
 * @param act - does what children do, so that the code it uses can be found
 */
export function hugePageSteps(libc: Libc, act: () => void): (() => void)[] {
  try {
    const code = findBusyCode(libc, act);
    let hasThem = true;
    return [
      ...code.map((each) => () => {
        hasThem &&= moveToHugePages(libc, each);
      }),
      ...largePieces().map(({ start, end }) => () => {
        if (hasThem) libc.advise(start, end - start, MADV_COLLAPSE);
      }),
    ];
  } catch {
    return [];
  }
}

/** Puts a copy of this memory in its place, in huge pages. Returns `false` if there are none. */
function moveToHugePages(libc: Libc, { start, end, executable }: Mapping): boolean {
  const bytes = end - start;
  const roomBytes = bytes + HUGE_PAGE_BYTES;
  const room = libc.map(0, roomBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS);
  if (room === undefined) return false;
  const copy = Math.ceil(room / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES;
  // With this the first write already gets a huge page; MADV_COLLAPSE makes sure of it, or fails.
  libc.advise(copy, bytes, MADV_HUGEPAGE);
  libc.copy(copy, start, bytes);
  const isMoved =
    libc.advise(copy, bytes, MADV_COLLAPSE) &&
    libc.protect(copy, bytes, executable ? PROT_READ_EXEC : PROT_READ) &&
    libc.move(copy, bytes, start);
  libc.unmap(room, copy - room);
  if (!isMoved) libc.unmap(copy, bytes);
  libc.unmap(copy + bytes, room + roomBytes - copy - bytes);
  return isMoved;
}

function findBusyCode(libc: Libc, act: () => void): Mapping[] {
  const mappings = mappingsOfCode();
  // The pages of a file's mapping are mapped again when they are used.
  for (const { start, end } of mappings) libc.advise(start, end - start, MADV_DONTNEED);
  act();
  const pagemap = openSync("/proc/self/pagemap", "r");
  try {
    return mappings.flatMap((mapping) => busyParts(mapping, pagemap));
  } finally {
    closeSync(pagemap);
  }
}

/** Returns the busy huge-page-sized parts, neighbours merged: every mapping costs each fork a microsecond. */
function busyParts(mapping: Mapping, pagemap: number): Mapping[] {
  const parts: Mapping[] = [];
  const { executable } = mapping;
  const { start, end } = whole(mapping);
  for (let at = start; at < end; at += HUGE_PAGE_BYTES) {
    if (countMapped(pagemap, at) < BUSY_PAGES) continue;
    const isNext = parts.at(-1)?.end === at;
    const partStart = isNext ? parts.pop()!.start : at;
    parts.push({ start: partStart, end: at + HUGE_PAGE_BYTES, executable });
  }
  return parts;
}

/** Returns code and constants of the binary and its libraries, but no mappings that the loader has written to. */
function mappingsOfCode(): Mapping[] {
  return readMappings()
    .filter(
      ({ name, protection, anonymous }) =>
        name.startsWith("/") && protection.startsWith("r-") && anonymous === 0,
    )
    .map(({ start, end, protection }) => ({ start, end, executable: protection[2] === "x" }));
}

/** Returns pieces of one huge page each. Skips thread stacks: nearly unused, they would then take their full size. */
function largePieces(): Range[] {
  return readMappings()
    .filter(
      ({ name, protection, anonymous, start, end }) =>
        /^(\[anon.*)?$/.test(name) &&
        protection.startsWith("rw") &&
        anonymous > (end - start) * MIN_USED,
    )
    .flatMap((mapping) => {
      const { start, end } = whole(mapping);
      const count = Math.max(0, (end - start) / HUGE_PAGE_BYTES);
      return Array.from({ length: count }, (_, i) => ({
        start: start + i * HUGE_PAGE_BYTES,
        end: start + (i + 1) * HUGE_PAGE_BYTES,
      }));
    });
}

/** Returns the part of the range that whole huge pages can cover. */
function whole({ start, end }: Range): Range {
  return {
    start: Math.ceil(start / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES,
    end: Math.floor(end / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES,
  };
}

/** Returns the private mappings, from proc_pid_smaps(5). */
function readMappings() {
  return [...readFileSync("/proc/self/smaps", "latin1").matchAll(MAPPING)].map(
    ([, start, end, protection, name, anonymous]) => ({
      start: Number.parseInt(start!, 16),
      end: Number.parseInt(end!, 16),
      protection: protection!,
      name: name!,
      /** Bytes of anonymous memory, which are in no file. */
      anonymous: Number(anonymous) * 1024,
    }),
  );
}

const MAPPING = /^(\w+)-(\w+) (...)p \w+ \S+ \d+ *(.*)\n(?:[A-Z].*\n)*?Anonymous: +(\d+) kB$/gm;

function countMapped(pagemap: number, start: number): number {
  const entries = Buffer.alloc((HUGE_PAGE_BYTES / PAGE_BYTES) * ENTRY_BYTES);
  readSync(pagemap, entries, 0, entries.length, (start / PAGE_BYTES) * ENTRY_BYTES);
  let mapped = 0;
  for (let i = ENTRY_BYTES - 1; i < entries.length; i += ENTRY_BYTES) {
    if (entries[i]! & PRESENT) mapped += 1;
  }
  return mapped;
}
