import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { descendants, isAlive } from "../support/leftovers.js";
import { program } from "../support/program.js";
import { PROMISED, SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)("a program with children by %s", (startMethod) => {
  it.each(["Stays", "Loops", "Ignores", "Leaves", "Lingers"])(
    "that is killed leaves no child, grandchild or directory: %s",
    async (worker) => {
      const root = temporaryDirectory();
      const started = program("holds.mjs", [worker, startMethod, root]);
      const pids = await begun(root);
      // The ledger; and a directory, if a child has written a long result.
      expect(scratch(root)).toHaveLength(worker === "Lingers" ? 2 : 1);
      started.kill("SIGKILL");
      await started.ended;
      await vi.waitFor(() => {
        expect(pids.filter(isAlive)).toEqual([]);
        expect(descendants()).toEqual([]);
        expect(scratch(root)).toEqual([]);
      }, PROMISED);
    },
  );

  it("ends on Ctrl-C together with its children", async () => {
    const root = temporaryDirectory();
    const started = program("holds.mjs", ["Loops", startMethod, root]);
    const pids = await begun(root);
    started.kill("SIGINT");
    expect(await started.ended).toMatchObject({ code: null, signal: "SIGINT" });
    await vi.waitFor(() => {
      expect(pids.filter(isAlive)).toEqual([]);
      expect(scratch(root)).toEqual([]);
    }, PROMISED);
  });

  it("can handle Ctrl-C itself, and its children end with it", async () => {
    const root = temporaryDirectory();
    const started = program("holds.mjs", ["Stays", startMethod, root, "handles"]);
    const pids = await begun(root);
    started.kill("SIGINT");
    expect(await started.ended).toMatchObject({ code: 7, signal: null, stdout: "handled\n" });
    await vi.waitFor(() => {
      expect(pids.filter(isAlive)).toEqual([]);
      expect(scratch(root)).toEqual([]);
    }, PROMISED);
  });
});

/** Resolves once both children run, with the pids that they record. */
async function begun(root: string): Promise<number[]> {
  const files = [0, 1].map((i) => `${root}/begun-${i}`);
  await vi.waitUntil(
    () => files.every((each) => existsSync(each) && readFileSync(each, "utf8") !== ""),
    SOON,
  );
  return files.map((each) => Number(readFileSync(each, "utf8")));
}

function scratch(root: string): string[] {
  return readdirSync(root).filter((name) => name.startsWith("forkmap-"));
}
