/**
 * Starts Node's thread pool while threads are available: libuv creates all its threads for the first piece of work, and
 * aborts the program when it cannot (`init_threads` in its threadpool.c). Where processes are few (a cgroup's
 * `pids.max`), a fork server that was started first could have taken the last ones.
 */
import { stat } from "node:fs/promises";

export async function startLibuvThreads(): Promise<void> {
  await stat(process.execPath).catch(() => {});
}
