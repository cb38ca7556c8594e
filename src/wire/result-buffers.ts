/**
 * Result buffers: a file in which a child of a pool puts results too long for its ledger. The child reuses each buffer
 * once the parent has read it. Their pages already exist, which saves most of the time of a file per result (1 MiB:
 * 0.03 ms instead of 0.2), and the child need not wait for the parent while a buffer is free.
 */
/** One to write while the parent reads another, and a spare one. */
export const RESULT_BUFFERS = 3;
/** The longest result of a buffer: characters of a text, else bytes. Longer results go to files of their own. */
export const RESULT_BUFFER_LENGTH = 64 * 1024 * 1024;
/** Distance of the buffers in the file, which is sparse: parts never written take no space. */
const STRIDE = 3 * RESULT_BUFFER_LENGTH;

export function positionOf(buffer: number): number {
  return buffer * STRIDE;
}
