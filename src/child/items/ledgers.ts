/**
 * The ledgers of the fork server's children. For children with one item, the fork server maps the ledgers of all slots
 * of a call at once, so that a child needs no system call; a child with many items maps its own, larger one.
 */
import { closeSync, constants, openSync } from "node:fs";
import { ledgerFile } from "../../wire/child-files.js";
import { BEGUN } from "../../wire/ledger.js";
import { MAX_CONCURRENCY, type Start } from "../../wire/protocol.js";
import type { Libc } from "../libc.js";
import type { LedgerMemory } from "./ledger-writer.js";

export class Ledgers {
  readonly #libc: Libc;
  readonly #mapped = new Map<string, ArrayBuffer>();

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** Returns the ledger of a child with one item; `undefined` for others. */
  memory(start: Start): LedgerMemory | undefined {
    const { directory, num, shape, payload } = start;
    if (!payload) return undefined;
    let buffer = this.#mapped.get(directory);
    if (!buffer) {
      // May be longer than the file: the file holds a slot's ledger before the slot's first child starts.
      buffer = mapLedger(this.#libc, start, 0, MAX_CONCURRENCY * shape.cellBytes);
      this.#mapped.set(directory, buffer);
    }
    return { buffer, offset: num * shape.cellBytes };
  }

  close(directory: string): void {
    const buffer = this.#mapped.get(directory);
    if (buffer) this.#libc.unmapFile(buffer);
    this.#mapped.delete(directory);
  }

  /** Whether a child with one item has begun it; `true` if its ledger is no longer mapped. */
  hasBegun({ directory, num, shape }: Start): boolean {
    const buffer = this.#mapped.get(directory);
    return !buffer || new Int32Array(buffer, num * shape.cellBytes)[BEGUN] !== 0;
  }
}

/** Maps a part of the ledger file of a pool. */
export function mapLedger(libc: Libc, start: Start, offset: number, bytes: number): ArrayBuffer {
  const fd = openSync(ledgerFile(start), constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    return libc.mapFile(fd, offset, bytes);
  } finally {
    closeSync(fd);
  }
}
