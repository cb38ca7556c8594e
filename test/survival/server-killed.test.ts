/** The fork server is killed in the middle of a call: this fails the items in flight, and no others. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fixture, runScript } from "../support/run-script.js";

interface Report {
  readonly values: (string | null)[];
  readonly errors: { readonly dead: boolean; readonly index: number; readonly message: string }[];
  readonly servers: number[];
  readonly next: string[];
  readonly processes: string[];
  readonly scratch: string[];
}

interface Again {
  readonly name?: string;
  readonly message?: string;
  readonly done: number;
  readonly errors: readonly string[];
  readonly killed: number;
}

describe("SIGKILL of the fork server", () => {
  let scratchRoot: string;

  beforeEach(() => {
    scratchRoot = mkdtempSync(path.join(tmpdir(), "server-killed-"));
  });
  afterEach(() => {
    rmSync(scratchRoot, { recursive: true, force: true });
  });

  async function kill(retries: number, done: number): Promise<Report> {
    const { stdout, stderr, code } = await runScript(fixture("server-killed-run.mjs"), {
      args: [String(retries), scratchRoot, String(done)],
      env: { FORKMAP_TEST_MARK: `${path.basename(scratchRoot)}-${done}` },
    });
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as Report;
  }

  const moments = [0, 1, 9, 23, 35];

  test.each(moments)(
    "after %d items: the items in flight fail with the reason, the others are done",
    async (done) => {
      const { values, errors, servers, next, processes, scratch } = await kill(0, done);
      expect(errors.length).toBeGreaterThan(0);
      // At most the number of concurrent items.
      expect(errors.length).toBeLessThanOrEqual(4);
      for (const { dead, index, message } of errors) {
        expect(dead).toBe(true);
        expect(message).toMatch(
          new RegExp(`^Item ${index} was lost: the fork server ended by SIGKILL`),
        );
      }
      const failed = new Set(errors.map(({ index }) => index));
      expect(values).toEqual(
        Array.from({ length: 40 }, (_, i) => (failed.has(i) ? undefined : `done ${i}`)).map(
          (v) => v ?? null,
        ),
      );
      expect(servers[1]).not.toBe(servers[0]);
      expect(next).toEqual(["done 100", "done 101"]);
      expect({ processes, scratch }).toEqual({ processes: [], scratch: [] });
    },
  );

  test.each(moments)("after %d items with retries: all items are done", async (done) => {
    const { values, errors, processes, scratch } = await kill(1, done);
    expect(errors).toEqual([]);
    expect(values).toEqual(Array.from({ length: 40 }, (_, i) => `done ${i}`));
    expect({ processes, scratch }).toEqual({ processes: [], scratch: [] });
  });

  async function killAgain(way: string): Promise<Again> {
    const flag = path.join(scratchRoot, "flag");
    const { stdout, stderr, code } = await runScript(fixture("server-killed-again.mjs"), {
      args: [way, flag],
    });
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as Again;
  }

  test("while it starts again: no item fails", async () => {
    const { done, errors, killed } = await killAgain("starts");
    expect(killed).toBe(3);
    // The items that failed are those of the first fork server.
    expect(errors.length).toBeLessThanOrEqual(4);
    expect(done).toBe(40 - errors.length);
    for (const error of errors) expect(error).toMatch(/was lost: the fork server ended by SIGKILL/);
  });

  test("whose module cannot be loaded again: the call's error has the results so far", async () => {
    const { name, message, done, errors } = await killAgain("module");
    expect(name).toBe("WorkerModuleError");
    expect(message).toContain("not a second time");
    expect(done).toBeGreaterThanOrEqual(10);
    expect(errors.length).toBeGreaterThan(0);
  });
});
