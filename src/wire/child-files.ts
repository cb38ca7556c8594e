/** Names of a child's files in scratch: parent and child derive them from the `Start`. */
import type { OutputName } from "./output-mark.js";
import type { Start } from "./protocol.js";

/**
 * The file with the ledgers of all slots of a pool. It lies beside the scratch directory: most calls need no other file, and
 * to make and remove a directory takes longer than all else that a call does for one short item.
 */
export function ledgerFile({ directory }: Pick<Start, "directory">): string {
  return `${directory}${LEDGER_SUFFIX}`;
}
export const LEDGER_SUFFIX = ".ledger";

/** File of a result that is too long for the ledger and lies in no result buffer. */
export function resultFile({ directory, name }: Start, seq: number): string {
  return `${directory}/${name}-${seq}.result`;
}
/** File with the child's result buffers, see result-buffers.ts. */
export function buffersFile({ directory, name }: Start): string {
  return `${directory}/${name}.results`;
}
export function wordFile({ directory, name }: Start, seq: number): string {
  return `${directory}/${name}-${seq}.word`;
}
export function endingFile({ directory, name }: Start): string {
  return `${directory}/${name}.ending`;
}

/** The FIFO through which a forked child prints. */
export function outputFile({ directory, num }: Start, name: OutputName): string {
  return `${directory}/${num}.${name}`;
}
