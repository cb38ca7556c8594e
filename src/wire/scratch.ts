/**
 * The scratch directory of one call or pool, where children write what is too long for their ledgers: creates it when it is
 * needed, removes it, and removes those left behind by killed owners. Its name is `forkmap-` and the mark of its owner.
 */
import { lstatSync, rmdirSync, rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { LaunchError } from "../errors.js";
import { OWNED_PREFIX, ownedName, ownerOf } from "../system/owner.js";
import { assertAllowed } from "../system/permission.js";
import { shortageOf } from "../system/shortage.js";
import { LEDGER_SUFFIX, ledgerFile } from "./child-files.js";
import { makeDirectory } from "./payload.js";

export class Scratch {
  /** Known before the directory exists, so that the process that removes it if we are killed can be informed first. */
  readonly directory: string;
  #isOpen = false;
  #isMade = false;

  constructor(root = tmpdir()) {
    this.directory = path.join(path.resolve(root), ownedName());
  }

  /** Called before anything is made in the root. */
  async open(): Promise<void> {
    const root = path.dirname(this.directory);
    assertAllowed("fs.write", "writing to the scratch directory", root);
    await sweepOnce(root);
    this.#isOpen = true;
    atExit(this.directory);
  }

  /** Makes the directory, unless it is made. */
  make(): void {
    if (this.#isMade) return;
    makeDirectory(this.directory);
    this.#isMade = true;
  }

  /** Synchronously, if it is empty: a round trip through the thread pool takes longer than to remove it. */
  async remove(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    atHand.delete(this.directory);
    if (!isThere(this.directory)) return;
    try {
      rmdirSync(this.directory);
    } catch {
      // Usually ENOTEMPTY.
      await rm(this.directory, { recursive: true, force: true });
    }
  }
}

/** Most calls have no directory. To look takes less time than the error of `rmdirSync`. */
function isThere(directory: string): boolean {
  try {
    return lstatSync(directory, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
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
          rmSync(ledgerFile({ directory: each }), { force: true });
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

/** Removes the scratch directories and ledgers in `root` whose owner has certainly ended. */
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
  if (!name.startsWith(OWNED_PREFIX)) return false;
  const end = name.endsWith(LEDGER_SUFFIX) ? -LEDGER_SUFFIX.length : undefined;
  return ownerOf(name.slice(OWNED_PREFIX.length, end))?.state === "gone";
}
