/** The ledger of a child that was not forked and so has inherited no memory: opened from its file. */
import { constants, openSync } from "node:fs";
import { ledgerFile } from "../../wire/child-files.js";
import type { Start } from "../../wire/protocol.js";
import type { LedgerMemory } from "./ledger-writer.js";

/** Maps the ledger for a child with many items. For one item, loading koffi would take longer than file writes. */
export async function ledgerInFile(start: Start): Promise<LedgerMemory> {
  const { num, cell, payload, shape } = start;
  const offset = (cell ?? num) * shape.cellBytes;
  if (!payload && process.platform === "linux") {
    try {
      const [{ mapLedger }, { loadLibc }] = await Promise.all([
        import("./ledgers.js"),
        import("../libc.js"),
      ]);
      return { buffer: mapLedger(loadLibc(), start, offset, shape.cellBytes), offset: 0 };
    } catch {
      // koffi could not be loaded.
    }
  }
  const fd = openSync(ledgerFile(start), constants.O_RDWR | constants.O_NOFOLLOW);
  return { buffer: new ArrayBuffer(shape.cellBytes), offset: 0, file: { fd, offset } };
}
