/** Too few processes, or a full disk: items wait or fail with the name of the limit, the others continue, nothing hangs. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fixture, outputOf, runScript } from "../support/run-script.js";

interface Told {
  readonly length?: number;
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
}

const IS_ROOT = process.getuid?.() === 0;
/** A user without other processes, so that the limit counts only those of the test. */
const UID = 61_234;
const KIB = 1024;
const DISK_BYTES = 512 * KIB;
/** Enough for two and a half slots of a pool. */
const LARGE_DISK_BYTES = 1600 * KIB;

/** Part of util-linux, as `mount` is: most systems have them, though no Node program needs them. */
const HAS_PRLIMIT = spawnSync("prlimit", ["--version"]).status === 0;

const root = mkdtempSync(path.join(tmpdir(), "scarce-"));
const disk = path.join(root, "disk");

/** Mounts a disk; root may do so, but not in every container. */
function mountDisk(): boolean {
  mkdirSync(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "tmpfs", disk], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  }
}

const isMounted = IS_ROOT && mountDisk();

afterAll(() => {
  if (isMounted) execFileSync("umount", [disk]);
  rmSync(root, { recursive: true, force: true });
});

describe.runIf(IS_ROOT && HAS_PRLIMIT)(
  "as a user who may have few processes (needs root to become one)",
  () => {
    const home = path.join(root, "home");
    const scratch = path.join(root, "scratch");

    beforeAll(() => {
      // The repository may be unreadable for other users, so the user gets a copy of the required files.
      const own = fileURLToPath(new URL("../..", import.meta.url));
      const modules = path.join(home, "node_modules");
      for (const part of ["dist", "package.json"])
        cpSync(path.join(own, part), path.join(modules, "forkmap", part), { recursive: true });
      const { dependencies } = JSON.parse(readFileSync(path.join(own, "package.json"), "utf8")) as {
        dependencies: object;
      };
      for (const name of [...Object.keys(dependencies), "tmp", "koffi", "@koromix"]) {
        cpSync(path.join(own, "node_modules", name), path.join(modules, name), {
          recursive: true,
          dereference: true,
        });
      }
      cpSync(realpathSync(process.execPath), path.join(home, "node"));
      for (const name of ["limited-run.mjs", "moment.mjs", "count-threads-run.mjs"])
        cpSync(fixture(name), path.join(home, name));
      mkdirSync(scratch);
      chmodSync(scratch, 0o777);
      chmodSync(root, 0o755);
    });

    /** The limit counts threads: a Node process has about ten, the fork server four to eight, a forked child one. */
    async function run(processes: number, items: number, pool = ""): Promise<Told[] | Told> {
      const child = spawn(
        "prlimit",
        [
          `--nproc=${processes}:${processes}`,
          path.join(home, "node"),
          path.join(home, "limited-run.mjs"),
          String(items),
          "10",
          "fork",
          scratch,
          "16",
          pool,
        ],
        {
          uid: UID,
          gid: UID,
          cwd: home,
          env: { PATH: process.env["PATH"] },
          stdio: ["ignore", "pipe", "pipe"],
        },
      );
      const { stdout, stderr, code } = await outputOf(child);
      expect(code, stderr).toBe(0);
      expect(readdirSync(scratch)).toEqual([]);
      return JSON.parse(stdout) as Told[] | Told;
    }

    test(
      "items wait for running children to end, and all are done",
      { timeout: 60_000 },
      async () => {
        const threads = await threadsAtRest();
        const told = (await run(threads + 3, 32)) as Told[];
        expect(told).toHaveLength(32);
        expect(told.filter(({ name }) => name !== undefined)).toEqual([]);
      },
    );

    test("a pool works in the slots that have a process", { timeout: 60_000 }, async () => {
      const threads = await threadsAtRest();
      const told = (await run(threads + 2, 20, "8")) as Told[];
      expect(told).toHaveLength(20);
      expect(told.filter(({ name }) => name !== undefined)).toEqual([]);
    });

    test("without any available process, a StartError says so", { timeout: 60_000 }, async () => {
      const threads = await threadsAtRest();
      const told = (await run(threads, 4)) as Told[];
      expect(told).toHaveLength(4);
      for (const { name, message } of told) {
        expect(name).toBe("StartError");
        expect(message).toMatch(
          /could not be started: no process or thread could be made: the limit is \d+ processes and threads of this user \(ulimit -u\).*\(EAGAIN\)/,
        );
      }
    });

    test(
      "with too few for the fork server, a LaunchError says so, and the program continues",
      {
        timeout: 60_000,
      },
      async () => {
        const threads = await threadsAtRest();
        // The last process may go to any of several competitors.
        for (let round = 0; round < 3; round += 1) {
          const told = (await run(threads - 3, 4)) as Told;
          expect(told).toMatchObject({ name: "LaunchError" });
          expect(told.message).toMatch(/the limit is \d+ processes and threads/);
        }
      },
    );

    /** Returns the threads of a program and its fork server. A process counts once for each of its threads. */
    async function threadsAtRest(): Promise<number> {
      const child = spawn(
        path.join(home, "node"),
        [path.join(home, "count-threads-run.mjs"), scratch],
        {
          uid: UID,
          gid: UID,
          cwd: home,
          env: { PATH: process.env["PATH"] },
          stdio: ["ignore", "pipe", "pipe"],
        },
      );
      const { stdout, stderr } = await outputOf(child);
      expect(Number(stdout), stderr).toBeGreaterThan(4);
      return Number(stdout);
    }
  },
);

describe.runIf(isMounted).each(["fork", "spawn"])(
  "on a full disk (needs root to mount one), children made by %s",
  (startMethod) => {
    test(
      "the item that filled it fails with the reason, the others are done",
      { timeout: 60_000 },
      async () => {
        const { stdout, stderr, code } = await runScript(fixture("limited-run.mjs"), {
          // One at a time, because a small result could meet a disk that a large one has just filled.
          args: ["8", String(4 * DISK_BYTES), startMethod, disk, "1"],
        });
        expect(code, stderr).toBe(0);
        const told = JSON.parse(stdout) as Told[];
        expect(told).toHaveLength(8);
        told.forEach((each, n) => {
          if (n % 4 === 3) {
            expect(each).toMatchObject({ name: "ItemError", code: "ENOSPC" });
            expect(each.message).toContain(`Item ${n} failed: `);
          } else {
            expect(each).toEqual({ length: String(n).length });
          }
        });
        expect(readdirSync(disk)).toEqual([]);
      },
    );

    test("a pool works in the slots that fit", { timeout: 60_000 }, async () => {
      execFileSync("mount", ["-o", `remount,size=${LARGE_DISK_BYTES}`, disk]);
      const { stdout, stderr, code } = await runScript(fixture("limited-run.mjs"), {
        args: ["24", "4", startMethod, disk, "1", "4"],
      });
      execFileSync("mount", ["-o", `remount,size=${DISK_BYTES}`, disk]);
      expect(code, stderr).toBe(0);
      const told = JSON.parse(stdout) as Told[];
      expect(told.filter(({ name }) => name !== undefined)).toEqual([]);
      expect(readdirSync(disk)).toEqual([]);
    });
  },
);
