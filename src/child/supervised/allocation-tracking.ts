/**
 * Tracks every allocation of this thread: exact figures of what is allocated and what of it is kept, with classes. It is costly in three ways.
 * Figures are of Node 20 on a slow virtual machine:
 *
 * - Each allocation notes the stack: a loop that only allocates is 70 times as slow, an HTTP server that makes and sends lists of 200 objects
 *   8 times.
 * - The inspector collects all garbage 20 times a second while it tracks. With a heap of 46 MB in 800,000 objects each turn of the event
 *   loop takes 0.2 to 0.3 s then, so the program hardly proceeds.
 * - It begins with giving each object a number, which takes 1.2 s for these, and 6 s for a heap of 173 MB; and it ends with a snapshot of the
 *   heap, whose costs are in heap-snapshot.ts. To read its text takes 2 s for 92 MB, in pieces between which the program goes on.
 */
import type { Session } from "node:inspector/promises";
import { setFlagsFromString } from "node:v8";
import { AllocationTally } from "./allocation-tally.js";
import type { AllocationReport } from "../../wire/memory-sample.js";
import { reportOf } from "./memory-report.js";
import { SnapshotFile } from "./snapshot-file.js";

/** On all versions of Node, but not documented. */
const COMPACTS = "--compact";
const COMPACTS_NOT = "--no-compact";

/**
 * Keeps V8 from moving old objects until tracking ends, in all threads of the process: it forgets where an object was made when it moves it after
 * the first collection, so with few objects none had a place in the end, and otherwise some had none.
 */
export async function startTracking(session: Session): Promise<void> {
  setFlagsFromString(COMPACTS_NOT);
  try {
    await session.post("HeapProfiler.startTrackingHeapObjects", { trackAllocations: true });
  } catch (error) {
    compactAgain();
    throw error;
  }
}

/** @param top - how many lines the parts of the report have */
export async function stopTracking(
  session: Session,
  top: number,
): Promise<{ allocated: AllocationReport; retained: AllocationReport }> {
  let file: SnapshotFile;
  try {
    file = new SnapshotFile();
  } catch (error) {
    await abandonTracking(session);
    throw error;
  }
  try {
    try {
      await file.take(session, "HeapProfiler.stopTrackingHeapObjects");
    } finally {
      compactAgain();
    }
    const tally = new AllocationTally();
    for await (const piece of file.pieces()) tally.write(piece);
    if (!tally.hasPlaces) {
      throw new Error(
        "V8 has tracked no allocations: another inspector of this child has ended the tracking. Ask again without one",
      );
    }
    return {
      allocated: reportOf(tally.allocated(), top),
      retained: reportOf(tally.retained(), top),
    };
  } finally {
    file.close();
  }
}

/** Ends it without a report. */
export async function abandonTracking(session: Session): Promise<void> {
  compactAgain();
  await session.post("HeapProfiler.disable");
}

function compactAgain(): void {
  if (!process.execArgv.includes(COMPACTS_NOT)) setFlagsFromString(COMPACTS);
}
