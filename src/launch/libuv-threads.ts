/**
 * Node's thread pool, made while there are threads to be had: libuv makes all of it with the first work for it, and aborts the
 * program when it cannot (`init_threads` in its threadpool.c). Where processes are few (a cgroup's `pids.max`), the fork
 * server, just started, could have taken the last ones.
 */
import { stat } from "node:fs/promises";

export async function startLibuvThreads(): Promise<void> {
  await stat(process.execPath).catch(() => {});
}
