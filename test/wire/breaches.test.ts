/** Violations of the protocol by a child: each fails the item that committed it, with an error that describes it. */
import { ProtocolError, type ParallelOptions } from "forkmap";
import { describe, expect, it } from "vitest";
import { Lies } from "../fixtures/lies.mjs";
import { opened } from "../support/opened.js";
import { temporaryDirectory } from "../support/temporary.js";

const WAYS: readonly (readonly [string, Partial<ParallelOptions>])[] = [
  ["fork", {}],
  ["fork, a pool", { pool: 2 }],
  ["spawn", { startMethod: "spawn", concurrency: 2 }],
  ["spawn, a pool", { startMethod: "spawn", pool: 2 }],
  ["threads in processes", { pool: 1, threads: 2 }],
];

/** Messages of the `ProtocolError`, by what the child records. */
const REASONS: Readonly<Record<string, string>> = {
  "a time": "noted a time in its ledger",
  "a count of begun items": "claims in its ledger to have begun",
  "a count of bytes": "bytes more in its ledger than it can hold",
  "an unknown item": "what became of item number 4000, which it does not have",
  "the entry of another item": "mixed up the entries of its ledger",
  "no JSON": "noted something in its ledger that is not JSON",
  "no entry": "where a result or an error is expected",
};

function numbered(item: object, n: number): never {
  return { n, ...item } as never;
}

describe.each(WAYS)("children by %s", (_, options) => {
  const isPool = options.pool !== undefined;

  // A child with one item behaves as a pool's child with its first item.
  it.each(isPool ? ["stringify", "JSON", "throws"] : ["throws"])(
    "are not harmed by a worker that replaces JSON: %s",
    async (what) => {
      const parallel = opened(new Lies(), options);
      const items = [{}, { what }, {}, { long: true }, { fails: true }, {}].map(numbered);
      const told = await parallel.mapSettled(items);
      expect(told.map(({ status }) => status === "fulfilled")).toEqual([
        true,
        true,
        true,
        true,
        false,
        true,
      ]);
      expect(told.map((each) => each.status === "fulfilled" && each.value.n)).toEqual([
        0,
        1,
        2,
        3,
        false,
        5,
      ]);
      const failed = told[4] as PromiseRejectedResult;
      expect(failed.reason.message).toContain("failed: RangeError: as asked");
    },
  );

  it("that record impossible entries in their ledgers are killed, and the item fails", async () => {
    const scratchRoot = temporaryDirectory();
    const parallel = opened(new Lies(), { ...options, scratchRoot, batch: 1 });
    const lies = Object.keys(REASONS);
    const items = lies.flatMap((lie) => [{ lie, root: scratchRoot }, {}]).map(numbered);
    const told = await parallel.mapSettled(items);
    for (const [i, lie] of lies.entries()) {
      const { reason: error } = told[2 * i] as PromiseRejectedResult;
      expect(error, lie).toBeInstanceOf(ProtocolError);
      expect(error.reason).toContain(REASONS[lie]);
      expect(told[2 * i + 1]).toMatchObject({ status: "fulfilled", value: { n: 2 * i + 1 } });
    }
  });

  it.runIf(isPool)("that write into their channel are killed, and the item fails", async () => {
    const parallel = opened(new Lies(), { ...options, batch: 1 });
    const items = [{}, { says: "what is no JSON" }, {}, { says: '{"status":"ok"}' }, {}].map(
      numbered,
    );
    // One at a time: threads of one process share a channel.
    const told = await parallel.mapSettled(items, { concurrency: 1 });
    expect(told.map(({ status }) => status === "fulfilled")).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
    for (const index of [1, 3]) {
      const { reason: error } = told[index] as PromiseRejectedResult;
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error.reason).toMatch(/wrote .* into its channel/);
    }
  });
});
