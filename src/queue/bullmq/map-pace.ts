/** How many jobs a program has under way, and how long a batch takes, by how many items all machines can run at once. */

/** Also while no machine is known. */
const LEAST_JOBS = 16;
/** One runs, and one waits at its machine. */
const JOBS_PER_SLOT = 2;
/** Long beside the 2 ms that a job needs on its way. */
const LEAST_BATCH_MS = 50;
/** One server passes on some 4,000 jobs a second: with this, half of that. */
const BATCH_MS_PER_SLOT = 0.5;

export function windowFor(slots: number): number {
  return Math.max(LEAST_JOBS, JOBS_PER_SLOT * slots);
}

export function batchMsFor(slots: number): number {
  return Math.max(LEAST_BATCH_MS, BATCH_MS_PER_SLOT * slots);
}
