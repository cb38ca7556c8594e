/** How bytes travel: in which form, and as text if they are short, in the line of an item or in the ledger. */
import type { BytesKind, Payable, ShortBytes } from "./payload.js";

/** Bytes up to this length travel as base64: about 8 KiB of a line. A file costs more time up to there. */
const SHORT_BYTES = 6 * 1024;

/** Returns `undefined` for what is not short, or no bytes. */
export function shortBytes({ kind, data }: Payable): ShortBytes | undefined {
  if (typeof data === "string" || data.length > SHORT_BYTES) return undefined;
  const base64 = Buffer.from(data.buffer, data.byteOffset, data.length).toString("base64");
  return { base64, kind: kind as BytesKind };
}

/** Returns the form in which bytes travel: as in `child_process.fork`, a Buffer stays one if values are cloned. */
export function payableBytes(data: Uint8Array, serialization: string): Payable {
  return { kind: serialization === "advanced" && Buffer.isBuffer(data) ? "buffer" : "bytes", data };
}
