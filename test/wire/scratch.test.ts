import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { ItemError, LaunchError, type Parallel } from "forkmap";
import { describe, expect, it, type TestContext, vi } from "vitest";
import { sweep } from "../../src/wire/scratch.js";
import { Echo, EchoJson, Long } from "../fixtures/echo.mjs";
import { Lingers } from "../fixtures/lingers.mjs";
import { Stays } from "../fixtures/stays.mjs";
import { ThrowsBelowZero } from "../fixtures/throws.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)(
  "the scratch directory of a call by %s",
  (startMethod) => {
    it("is accessible only to this user, and so are the files in it", async () => {
      const scratchRoot = temporaryDirectory();
      const { begun, go } = signs();
      const item = { begun, go, length: 100_000, padding: "x".repeat(20_000) };
      chmodSync(scratchRoot, 0o777);
      const umask = process.umask(0);
      const call = opened(new Lingers(), { startMethod, scratchRoot }).mapProcesses([item]);
      await vi.waitUntil(() => existsSync(item.begun), SOON);
      process.umask(umask);

      const [name, ledger, ...more] = readdirSync(scratchRoot).toSorted();
      expect([ledger, ...more]).toEqual([`${name}.ledger`]);
      expect(name).toMatch(new RegExp(`^forkmap-${process.pid}-\\d+-\\d+-[0-9a-f]{8}$`));
      const directory = path.join(scratchRoot, name!);
      expect(statSync(`${directory}.ledger`).mode & 0o7777).toBe(0o600);
      expect(statSync(directory).mode & 0o7777).toBe(0o700);
      const modes = readdirSync(directory).map(
        (file) => statSync(path.join(directory, file)).mode & 0o7777,
      );
      // The item and its result.
      expect(modes).toEqual([0o600, 0o600]);

      writeFileSync(item.go, "");
      expect(await call).toEqual(["x".repeat(100_000)]);
      expect(readdirSync(scratchRoot)).toEqual([]);
    });

    it("is made by the first child with a long result, for this user only; before, there is a ledger", async () => {
      const scratchRoot = temporaryDirectory();
      const { begun, go, from } = signs();
      writeFileSync(go, "");
      const seen: string[][] = [];
      const parallel = opened(new Lingers(), { startMethod, scratchRoot, concurrency: 1 });
      const call = parallel.mapProcesses(
        [
          { begun, go, length: 5 },
          { from, begun, go, length: 100_000 },
        ],
        {
          onFinish: () => {
            const names = readdirSync(scratchRoot).toSorted();
            seen.push(names.map((name) => path.extname(name)));
            seen.push(names.map((name) => modeOf(scratchRoot, name)));
            writeFileSync(from, "");
          },
        },
      );
      expect((await call).map((text) => text.length)).toEqual([5, 100_000]);
      expect(seen).toEqual([[".ledger"], ["600"], ["", ".ledger"], ["700", "600"]]);
      expect(readdirSync(scratchRoot)).toEqual([]);
    });

    it.each(["a link", "open to others", "a file"])(
      "is not used if somebody else has made it: %s",
      async (what) => {
        const scratchRoot = temporaryDirectory();
        const { begun, go, from } = signs();
        const parallel = opened(new Lingers(), { startMethod, scratchRoot });
        const call = parallel.mapSettled([{ from, begun, go, length: 100_000 }]);
        await vi.waitUntil(() => readdirSync(scratchRoot).length > 0, SOON);
        const [ledger] = readdirSync(scratchRoot) as [string];
        const planted = path.join(scratchRoot, path.basename(ledger, ".ledger"));
        const target = temporaryDirectory();
        if (what === "a link") symlinkSync(target, planted);
        else if (what === "a file") writeFileSync(planted, "");
        else mkdirSync(planted);
        if (what === "open to others") chmodSync(planted, 0o777);
        for (const file of [go, from]) writeFileSync(file, "");
        const [{ reason }] = (await call) as [PromiseRejectedResult];
        expect(reason).toBeInstanceOf(ItemError);
        expect(reason.cause.message).toContain("is not a directory that only this user can access");
        expect(readdirSync(target)).toEqual([]);
        expect(readdirSync(scratchRoot)).toEqual([]);
      },
    );

    it("is of one call: the long results of calls at the same time do not mix", async () => {
      const scratchRoot = temporaryDirectory();
      const parallel = opened(new EchoJson(), { startMethod, scratchRoot });
      const calls = ["a", "b", "c"].map((letter) =>
        Array.from({ length: 4 }, (_, i) => letter.repeat(100_000 + i)),
      );
      expect(await Promise.all(calls.map((items) => parallel.mapProcesses(items)))).toEqual(calls);
      expect(readdirSync(scratchRoot)).toEqual([]);
    });

    it("of a call that was aborted after a long result is removed", async () => {
      const scratchRoot = temporaryDirectory();
      const { begun, go } = signs();
      const parallel = opened(new Lingers(), { startMethod, scratchRoot });
      const item = { begun, go, length: 100_000 };
      const controller = new AbortController();
      const aborted = parallel.mapProcesses([item], { signal: controller.signal });
      await vi.waitUntil(() => existsSync(item.begun), SOON);
      expect(readdirSync(scratchRoot)).toHaveLength(2);
      controller.abort();
      await rejection(aborted);
      expect(readdirSync(scratchRoot)).toEqual([]);
    });

    it("is removed after success, failure and abort", async () => {
      const scratchRoot = temporaryDirectory();
      const seen: number[] = [];
      const onFinish = () => void seen.push(readdirSync(scratchRoot).length);
      const parallel = opened(new ThrowsBelowZero(), { startMethod, scratchRoot, onFinish });
      await parallel.mapProcesses([1]);
      expect(readdirSync(scratchRoot)).toEqual([]);
      await rejection(parallel.mapProcesses([1, -1], { concurrency: 1 }));
      expect(readdirSync(scratchRoot)).toEqual([]);
      const controller = new AbortController();
      const aborted = parallel.mapProcesses([1, 60_000], {
        signal: controller.signal,
        onFinish: () => {
          onFinish();
          controller.abort();
        },
      });
      await rejection(aborted);
      expect(readdirSync(scratchRoot)).toEqual([]);
      expect(seen).toEqual([1, 1, 1]);
    });

    it("is removed after a call that an item or a hook has stopped", async () => {
      const scratchRoot = temporaryDirectory();
      const parallel = opened(new Echo(), { startMethod, scratchRoot });
      await rejection(parallel.mapProcesses(["a", 1n as never]));
      await rejection(
        parallel.mapProcesses(["a"], { onFinish: () => Promise.reject(new Error("hook")) }),
      );
      expect(readdirSync(scratchRoot)).toEqual([]);
    });

    it("keeps no file of a finished item", async () => {
      const scratchRoot = temporaryDirectory();
      const counts: number[] = [];
      const onFinish = () => {
        const [directory] = readdirSync(scratchRoot).toSorted() as [string];
        counts.push(readdirSync(path.join(scratchRoot, directory)).length);
      };
      const items = ["a", "b", "c"].map((letter) => letter.repeat(20_000));
      await opened(new Echo(), { startMethod, scratchRoot, concurrency: 1 }).mapProcesses(items, {
        onFinish,
      });
      // The next item may be in flight: its own file, and that of its result.
      expect(Math.max(...counts)).toBeLessThanOrEqual(2);
    });

    it.each(["missing", "a file"])(
      "that cannot be created is a LaunchError: its root is %s",
      async (what) => {
        const scratchRoot = path.join(temporaryDirectory(), "root");
        if (what === "a file") writeFileSync(scratchRoot, "");
        const parallel = opened(new Echo(), { startMethod, scratchRoot });
        const error = await rejection(parallel.mapProcesses(["a"]));
        expect(error).toBeInstanceOf(LaunchError);
        expect(error.code).toBe("ERR_PARALLEL_LAUNCH");
        expect(error.message).toContain(scratchRoot);
        expect(
          await parallel.mapProcesses(["a"], { scratchRoot: path.dirname(scratchRoot) }),
        ).toEqual(["a"]);
      },
    );

    it("that is full fails the item concerned, and nothing hangs", async (context) => {
      await onDisk("256k", context, async (scratchRoot) => {
        const parallel = opened(new Long(), { startMethod, scratchRoot, concurrency: 1 });
        const settled = await parallel.mapSettled([10, 1_000_000, 20]);
        expect(settled.map((each) => each.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
        const { reason } = settled[1] as PromiseRejectedResult;
        expect(reason).toBeInstanceOf(ItemError);
        expect(reason).toMatchObject({ index: 1, cause: { code: "ENOSPC" } });
        // The fork server has the ledger of the call mapped until it receives the request to release it.
        await parallel.close();
      });
    });
  },
);

it("in a batch, a large item without enough space fails alone", async (context) => {
  await onDisk("2m", context, async (scratchRoot) => {
    const parallel = opened(new Echo(), { scratchRoot, pool: 1 });
    const items = ["a", "b", "x".repeat(4_000_000), "c"];
    const settled = await parallel.mapSettled(items, { batch: 4 });
    expect(settled.map((each) => each.status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect((settled[2] as PromiseRejectedResult).reason).toMatchObject({
      index: 2,
      cause: { code: "ENOSPC" },
    });
    await parallel.close();
  });
});

it("in a pool, a large result without enough space takes none from others", async (context) => {
  await onDisk("4m", context, async (scratchRoot) => {
    const parallel = opened(new Long(), { scratchRoot, pool: 1 });
    const lengths = [100_000, 9_000_000, 1_000_000, 10, 9_000_000, 900_000];
    const settled = await parallel.mapSettled(lengths);
    expect(
      settled.map((each) =>
        each.status === "fulfilled" ? each.value.length : each.reason.cause.code,
      ),
    ).toEqual([100_000, "ENOSPC", 1_000_000, 10, "ENOSPC", 900_000]);
    await parallel.close();
  });
});

it("a large item without enough space stops the call with an error, and nothing hangs", async (context) => {
  await onDisk("256k", context, async (scratchRoot) => {
    const parallel = opened(new Echo(), { scratchRoot });
    expect(await rejection(parallel.mapProcesses(["x".repeat(1_000_000)]))).toMatchObject({
      code: expect.any(String),
    });
    expect(readdirSync(scratchRoot)).toEqual([]);
    await parallel.close();
  });
});

describe("sweep", () => {
  it("removes the directories of dead owners and of a reused pid, and nothing else", async () => {
    const { start, place } = await ownName();
    const { pid: dead } = spawnSync("/bin/true");
    const elsewhere = place === "00000000" ? "11111111" : "00000000";
    const gone = [`forkmap-${dead}-1-1-${place}`, `forkmap-${process.pid}-1-1-${place}`];
    const kept = [
      `forkmap-${process.pid}-1-${start}-${place}`,
      `forkmap-${dead}-1-1-${elsewhere}`,
      `forkmap-${dead}`,
      `my-forkmap-${dead}-1-1-${place}`,
    ];
    const root = temporaryDirectory();
    for (const name of [...gone, ...kept]) {
      mkdirSync(path.join(root, name));
      writeFileSync(path.join(root, name, "1.result"), "");
    }
    await sweep(root);
    expect(readdirSync(root).toSorted()).toEqual(kept.toSorted());
  });

  it("does not follow a link", async () => {
    const { place } = await ownName();
    const { pid: dead } = spawnSync("/bin/true");
    const root = temporaryDirectory();
    const target = temporaryDirectory();
    writeFileSync(`${target}/precious`, "");
    symlinkSync(target, path.join(root, `forkmap-${dead}-1-1-${place}`));
    await sweep(root);
    expect(readdirSync(target)).toEqual(["precious"]);
  });

  it("runs with the first call in a root", async () => {
    const { place } = await ownName();
    const { pid: dead } = spawnSync("/bin/true");
    const scratchRoot = temporaryDirectory();
    mkdirSync(path.join(scratchRoot, `forkmap-${dead}-1-1-${place}`));
    await opened(new Stays()).mapProcesses([{ ms: 1 }], { scratchRoot });
    expect(readdirSync(scratchRoot)).toEqual([]);
  });

  it("removes the files of a fork server that was killed while it started", async () => {
    const [root, scratchRoot] = [temporaryDirectory(), temporaryDirectory()];
    vi.stubEnv("TMPDIR", root);
    try {
      // Its own directory exists only for some ms.
      for (let tries = 0; tries < 20; tries += 1) {
        const parallel = opened(new Echo(), { startMethod: "fork", scratchRoot });
        if (await killedAtSight(parallel, root)) break;
      }
    } finally {
      vi.unstubAllEnvs();
    }
    await sweep(root);
    expect(readdirSync(root)).toEqual([]);
  });

  it("does nothing if the root does not exist", async () => {
    await sweep(path.join(temporaryDirectory(), "missing"));
  });
});

/** Returns files for an item of `Lingers` and its test to wait for. */
function signs(): { from: string; begun: string; go: string } {
  const directory = temporaryDirectory();
  return { from: `${directory}/from`, begun: `${directory}/begun`, go: `${directory}/go` };
}

function modeOf(directory: string, name: string): string {
  return (statSync(path.join(directory, name)).mode & 0o7777).toString(8);
}

/** Kills a starting fork server once `root` contains anything; returns whether it did. */
async function killedAtSight(parallel: Parallel<string, string>, root: string): Promise<boolean> {
  let isOver = false;
  const over = parallel.ready().then(
    () => (isOver = true),
    () => (isOver = true),
  );
  let isSeen = false;
  while (!isSeen && !isOver) {
    isSeen = readdirSync(root).length > 0;
    if (isSeen) process.kill(parallel.stats().pids[0]!, "SIGKILL");
    await new Promise((resolve) => setImmediate(resolve));
  }
  await over;
  await parallel.destroy();
  return isSeen;
}

/** Runs `use` with a disk of the given size, if one can be mounted. */
async function onDisk(
  size: string,
  context: TestContext,
  use: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = temporaryDirectory();
  const options = ["-t", "tmpfs", "-o", `size=${size}`, "none", directory];
  if (spawnSync("mount", options).status !== 0) context.skip();
  try {
    await use(directory);
  } finally {
    execFileSync("umount", [directory]);
  }
}

/** Returns the parts of a directory's name that identify this process. */
async function ownName(): Promise<{ start: string; place: string }> {
  const scratchRoot = temporaryDirectory();
  let name = "";
  await opened(new Stays()).mapProcesses([{ ms: 1 }], {
    scratchRoot,
    onFinish: () => ([name] = readdirSync(scratchRoot) as [string]),
  });
  const [, , , start, place] = name.split("-") as [string, string, string, string, string];
  return { start, place };
}
