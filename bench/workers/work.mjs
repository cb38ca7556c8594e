/** The work that every Node contender does: the same functions for all. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";

const SMALL_FILE = new URL("small.txt", import.meta.url);

export const work = {
  "returns at once": (n) => String(n),
  "async without I/O": async (n) => {
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    return String(n);
  },
  "timer and file read": async (n) => {
    await sleep(1);
    const text = await readFile(SMALL_FILE, "utf8");
    return text.replace("\n", String(n));
  },
  "loopback fetch": async (n) => {
    const response = await fetch(`${process.env.BENCH_URL}/${n}`);
    return await response.text();
  },
  /** Not measured: proves that no two items shared a process or thread. */
  identity: () => `${process.pid}/${threadId}`,
};

export const expected = {
  "returns at once": (n) => String(n),
  "async without I/O": (n) => String(n),
  "timer and file read": (n) => `item ${n}`,
  "loopback fetch": (n) => `/${n}`,
};
