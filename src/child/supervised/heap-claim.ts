/** V8 has one heap profiler in each thread: one diagnostic uses it at a time. */

let claimedBy: string | undefined;

/**
 * @param operation - named to those who ask meanwhile
 * @returns the function that gives it back; harmless if it is called again
 */
export function claimHeap(operation: string): () => void {
  if (claimedBy !== undefined) {
    const advice =
      claimedBy === "allocation_trace_start"
        ? "end it with allocation_trace_stop"
        : "ask again when it has answered";
    throw new Error(
      `Expected nothing else to look into the memory of this child during ${operation}, but ${claimedBy} is running: ${advice}`,
    );
  }
  claimedBy = operation;
  let isClaimed = true;
  return () => {
    if (isClaimed) claimedBy = undefined;
    isClaimed = false;
  };
}
