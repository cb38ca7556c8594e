/** The ledger of a child that was started anew: it has only its file. */
import { openSync } from "node:fs";
import { LEDGER_FILE } from "../../wire/ledger.js";
import type { Start } from "../../wire/protocol.js";
import type { LedgerMemory } from "./ledger-writer.js";

/** Mapped where it is used often; for one item, loading what maps it would take longer than writing to the file. */
export async function ledgerInFile(start: Start): Promise<LedgerMemory> {
  const { directory, num, cell, payload, shape } = start;
  const offset = (cell ?? num) * shape.cellBytes;
  if (!payload && process.platform === "linux") {
    try {
      const [{ mapLedger }, { loadLibc }] = await Promise.all([
        import("./ledgers.js"),
        import("../libc.js"),
      ]);
      return { buffer: mapLedger(loadLibc(), directory, offset, shape.cellBytes), offset: 0 };
    } catch {
      // No koffi.
    }
  }
  const fd = openSync(`${directory}/${LEDGER_FILE}`, "r+");
  return { buffer: new ArrayBuffer(shape.cellBytes), offset: 0, file: { fd, offset } };
}
