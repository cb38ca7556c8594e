/** The operation `memory_dump`: a snapshot of the heap, for the memory tab of Chrome's developer tools. */
import type { Diagnostic } from "./diagnostic.js";
import { claimHeap } from "./heap-claim.js";
import { inspect } from "./inspection.js";
import { SnapshotFile } from "./snapshot-file.js";

/** Returns `{ bytes }`, the length of the text that was sent. What it costs: see heap-snapshot.ts. */
export const memoryDump: Diagnostic = async (call) => {
  call.signal.throwIfAborted();
  const release = claimHeap("memory_dump");
  try {
    const file = new SnapshotFile();
    try {
      await inspect((session) => file.take(session, "HeapProfiler.takeHeapSnapshot"));
      // The file does not need the heap any more, and the receiver may be slow.
      release();
      let bytes = 0;
      for await (const piece of file.pieces()) {
        call.signal.throwIfAborted();
        bytes += piece.length;
        await call.chunk(piece);
      }
      return { bytes };
    } finally {
      file.close();
    }
  } finally {
    release();
  }
};
