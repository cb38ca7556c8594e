/** A fork server that holds much memory moves it (child/fork/huge-pages.ts), and every child sees the same. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { LargePreload } from "../fixtures/large-preload.mjs";
import { opened } from "../support/opened.js";

/** More than the 75 forks after which it moves a piece of 2 MiB with each fork, and more than its number of pieces. */
const ITEMS = 150;

test(
  "every child sees what preload has created, even if other children write to it",
  // Alone 45 s where page faults are slow, and 120 s beside two other files.
  { timeout: 240_000 },
  async () => {
    const parallel = opened(new LargePreload(), { startMethod: "fork", concurrency: 4 });
    const seen = await parallel.mapProcesses(Array.from({ length: ITEMS }, (_, i) => i % 10 === 0));
    expect(new Set(seen)).toEqual(new Set([made()]));
  },
);

/** Half of the sum of 0 to 399,999, which follows the hash. */
const SUM = (399_999 * 400_000) / 4;

function made(): string {
  const hash = createHash("sha1");
  const word = Buffer.alloc(4);
  for (let at = 0; at < 64 * 1024 * 1024; at += 4096) {
    word.writeUInt32LE(at);
    hash.update(word);
  }
  return `${hash.digest("hex")} ${SUM}`;
}
