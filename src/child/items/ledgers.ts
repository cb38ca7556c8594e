/**
 * The ledgers of the fork server's children. Those of children for one item are mapped here, all of a call at once, so
 * that a child has its own without a system call; a child for many items maps its own, which is larger.
 */
import { closeSync, openSync } from "node:fs";
import { BEGUN, LEDGER_FILE } from "../../wire/ledger.js";
import { MAX_CONCURRENCY, type Start } from "../../wire/protocol.js";
import type { LedgerMemory } from "./ledger-writer.js";
import type { Libc } from "../libc.js";

export class Ledgers {
  readonly #libc: Libc;
  readonly #mapped = new Map<string, ArrayBuffer>();

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** Of a child for one item; `undefined` for others. */
  memory({ directory, num, shape, payload }: Start): LedgerMemory | undefined {
    if (!payload) return undefined;
    let buffer = this.#mapped.get(directory);
    if (!buffer) {
      // More than the file has yet: a slot's part of it is there before its first child.
      buffer = mapLedger(this.#libc, directory, 0, MAX_CONCURRENCY * shape.cellBytes);
      this.#mapped.set(directory, buffer);
    }
    return { buffer, offset: num * shape.cellBytes };
  }

  close(directory: string): void {
    const buffer = this.#mapped.get(directory);
    if (buffer) this.#libc.unmapFile(buffer);
    this.#mapped.delete(directory);
  }

  /** Whether a child for one item has begun it. */
  hasBegun({ directory, num, shape }: Start): boolean {
    const buffer = this.#mapped.get(directory);
    return !buffer || new Int32Array(buffer, num * shape.cellBytes)[BEGUN] !== 0;
  }
}

/** A part of the ledgers in a scratch directory. */
export function mapLedger(
  libc: Libc,
  directory: string,
  offset: number,
  bytes: number,
): ArrayBuffer {
  const fd = openSync(`${directory}/${LEDGER_FILE}`, "r+");
  try {
    return libc.mapFile(fd, offset, bytes);
  } finally {
    closeSync(fd);
  }
}
