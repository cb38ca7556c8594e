/**
 * Makes forks faster by huge pages, each of which takes the place of 512:
 *
 * - the busy parts of Node's own code. A child maps each page of code it uses anew, by a fault for every 16 of them, and
 *   unmaps them one by one at its end: some 1,800 pages for an item that does nothing, a tenth of its time.
 * - large pieces of memory, such as buffers that `preload` has filled: a fork copies the page tables of all there is.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { HUGE_PAGE_BYTES, type Libc, type Range } from "../libc.js";

/**
 * By so many forks it will have paid: code takes 10 to 20 ms and saves 0.2 ms for each fork, 100 MiB in large pieces take
 * 330 ms and save 5 ms.
 */
const FORKS_WORTH_IT = 75;
/** In one huge page's worth of code: with fewer in use, 2 MiB for them are too much. */
const BUSY_PAGES = 128;
/** Of a piece of memory, for it to be worth filling up. */
const MOSTLY = 0.75;
const PAGE_BYTES = 4096;
/** An entry of /proc/self/pagemap (proc_pid_pagemap(5)); its highest bit says that the page is mapped. */
const ENTRY_BYTES = 8;
const PRESENT = 0x80;

interface Mapping extends Range {
  readonly executable: boolean;
}

export class HugePages {
  readonly #libc: Libc;
  readonly #code: readonly Mapping[];
  #forks = 0;
  /** What is left to do; unknown until it is worth doing. */
  #steps: (() => void)[] | undefined;

  /** @param act - does what children will do, to find out what code that uses */
  static async preparedBy(libc: Libc, act: () => Promise<void>): Promise<HugePages> {
    try {
      return new HugePages(libc, await findBusyCode(libc, act));
    } catch {
      // It only makes forks quicker: what it needs, and `act` does, may not be there (a directory, descriptors, /proc).
      return new HugePages(libc, []);
    }
  }

  private constructor(libc: Libc, code: readonly Mapping[]) {
    this.#libc = libc;
    this.#code = code;
  }

  /** To be called after every fork. Once there have been enough, each moves one piece, and holds up the next by no more. */
  onFork(): void {
    this.#forks += 1;
    if (this.#forks < FORKS_WORTH_IT) return;
    this.#steps ??= this.#plan();
    this.#steps.pop()?.();
  }

  /** Nothing where memory cannot be looked at: /proc is not there, or no descriptor is left to read it. */
  #plan(): (() => void)[] {
    try {
      return [
        ...largePieces().map((piece) => () => this.#libc.collapse(piece)),
        ...this.#code.map((code) => () => this.#moveCode(code)),
      ];
    } catch {
      return [];
    }
  }

  /** Where the kernel has no huge pages, all stays as it is. */
  #moveCode(code: Mapping): void {
    if (!this.#libc.moveToHugePages(code, code.executable)) this.#steps = [];
  }
}

async function findBusyCode(libc: Libc, act: () => Promise<void>): Promise<Mapping[]> {
  const mappings = mappingsOfCode();
  for (const mapping of mappings) libc.unmapPages(mapping);
  await act();
  const pagemap = openSync("/proc/self/pagemap", "r");
  try {
    return mappings.flatMap((mapping) => busyParts(mapping, pagemap));
  } finally {
    closeSync(pagemap);
  }
}

/** Those of its huge pages' worths that are in use, side by side as one: every mapping costs each fork a microsecond. */
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

/** Code and constants of the binary and its libraries. Not what the loader has written to, which is in no file. */
function mappingsOfCode(): Mapping[] {
  return readMappings()
    .filter(
      ({ name, protection, anonymous }) =>
        name.startsWith("/") && protection.startsWith("r-") && anonymous === 0,
    )
    .map(({ start, end, protection }) => ({ start, end, executable: protection[2] === "x" }));
}

/** Each for one huge page. Not in the stacks of threads, of which next to nothing is in use: it would be used up whole. */
function largePieces(): Range[] {
  return readMappings()
    .filter(
      ({ name, protection, anonymous, start, end }) =>
        /^(\[anon.*)?$/.test(name) &&
        protection.startsWith("rw") &&
        anonymous > (end - start) * MOSTLY,
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

/** The part of it that could be huge pages. */
function whole({ start, end }: Range): Range {
  return {
    start: Math.ceil(start / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES,
    end: Math.floor(end / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES,
  };
}

/** Private mappings, as proc_pid_smaps(5) has them. */
function readMappings() {
  return [...readFileSync("/proc/self/smaps", "latin1").matchAll(MAPPING)].map(
    ([, start, end, protection, name, anonymous]) => ({
      start: Number.parseInt(start!, 16),
      end: Number.parseInt(end!, 16),
      protection: protection!,
      name: name!,
      /** Bytes that are in no file. */
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
