/** Names of the files of a child in the scratch directory of its pool, its ledger apart: both ends know them by its start. */
import type { OutputName } from "./output-mark.js";
import type { Start } from "./protocol.js";

/** Where a child puts what is too long for the ledger. */
export function resultFile({ directory, name }: Start, seq: number): string {
  return `${directory}/${name}-${seq}.result`;
}
/** With its result buffers, see result-buffers.ts. */
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
