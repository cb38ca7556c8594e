/**
 * The scratch directory of one call or pool, where children write results: creates it, removes it, and removes those
 * left behind by killed owners. Its name is `forkmap-` and the mark of its owner.
 */
import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { LaunchError } from "../errors.js";
import { OWNED_PREFIX, ownedName, ownerOf } from "../system/owner.js";
import { assertAllowed } from "../system/permission.js";
import { shortageOf } from "../system/shortage.js";

export class Scratch {
  /** Known before the directory exists, so that the process that removes it if we are killed can be informed first. */
  readonly directory: string;
  #isOpen = false;

  constructor(root = tmpdir()) {
    this.directory = path.join(path.resolve(root), ownedName());
  }

  /**
   * Creates the directory, accessible to this user only (0700); fails if it exists. Synchronously, here and in `remove`:
   * each round trip through the thread pool takes as long as both together.
   */
  async open(): Promise<void> {
    const root = path.dirname(this.directory);
    assertAllowed("fs.write", "writing to the scratch directory", root);
    await sweepOnce(root);
    try {
      mkdirSync(this.directory, { mode: 0o700 });
    } catch (cause) {
      throw scratchError(root, cause);
    }
    this.#isOpen = true;
    atExit(this.directory);
  }

  async remove(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    atHand.delete(this.directory);
    try {
      rmdirSync(this.directory);
    } catch {
      // Usually ENOTEMPTY; or another process or the user has removed the directory already.
      await rm(this.directory, { recursive: true, force: true });
    }
  }
}

/** Returns the error for a scratch directory that cannot be created, or in which a pool cannot create its files. */
export function scratchError(root: string, cause: unknown): LaunchError {
  const { message } = cause as Error;
  const why =
    shortageOf(cause) ??
    `${message}. Choose another directory with \`scratchRoot\`${root === tmpdir() ? " or TMPDIR" : ""}`;
  return new LaunchError(`The scratch directory could not be made in ${root}: ${why}`, { cause });
}

/** The existing scratch directories of this process. */
const atHand = new Set<string>();

/**
 * Removes the directories at exit if the program ends without closing their pools. The fork server or the reaper does
 * so some ms later: too late for a process that waits for the program's end, but in time for what a child just wrote.
 */
function atExit(directory: string): void {
  if (atHand.size === 0 && !isWatchingExit) {
    isWatchingExit = true;
    process.once("exit", () => {
      for (const each of atHand) {
        try {
          rmSync(each, { recursive: true, force: true });
        } catch {
          // A child is still writing: the fork server or the reaper removes the rest.
        }
      }
    });
  }
  atHand.add(directory);
}

let isWatchingExit = false;

const swept = new Map<string, Promise<void>>();

/** Sweeps once per process and root: a directory is rarely left, only if kill -9 hits the fork server or reaper too. */
function sweepOnce(root: string): Promise<void> {
  let done = swept.get(root);
  if (!done) swept.set(root, (done = sweep(root)));
  return done;
}

/** Removes the scratch directories in `root` whose owner has certainly ended. */
export async function sweep(root: string): Promise<void> {
  const names = await readdir(root).catch(() => []);
  await Promise.all(
    names.filter(isOrphan).map((name) =>
      // Ignored: another run may sweep at the same time, or the directory belongs to another user.
      rm(path.join(root, name), { recursive: true, force: true }).catch(() => {}),
    ),
  );
}

function isOrphan(name: string): boolean {
  return (
    name.startsWith(OWNED_PREFIX) && ownerOf(name.slice(OWNED_PREFIX.length))?.state === "gone"
  );
}
