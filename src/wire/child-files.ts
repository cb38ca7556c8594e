/** Names of a child's files in scratch, except its ledger: parent and child derive them from the `Start`. */
import type { OutputName } from "./output-mark.js";
import type { Start } from "./protocol.js";

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
