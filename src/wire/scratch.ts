/**
 * The directory of one call, where children write results: made, removed, and swept when its owner was killed.
 * Its name is `forkmap-` and the mark of its owner.
 */
import { existsSync, realpathSync, rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { LaunchError } from "../errors.js";
import { assertAllowed } from "../system/permission.js";
import { shortageOf } from "../system/shortage.js";
import { OWNED_PREFIX, ownedName, ownerOf } from "../system/owner.js";

export class Scratch {
  /** Known before the directory exists, so that whoever must remove it after us can be told first. */
  readonly directory: string;
  #cleanup: (() => Promise<void>) | undefined;

  constructor(root = tmpdir()) {
    this.directory = path.join(path.resolve(root), ownedName());
  }

  /** Makes the directory, only this user's (0700), and fails if there is one. */
  async open(): Promise<void> {
    const root = path.dirname(this.directory);
    assertAllowed("fs.write", "writing to the scratch directory", root);
    await sweepOnce(root);
    try {
      const tmp = await loadTmp(root);
      const { cleanup } = await tmp.dir({
        tmpdir: root,
        name: path.basename(this.directory),
        mode: 0o700,
        unsafeCleanup: true,
      });
      this.#cleanup = cleanup;
    } catch (cause) {
      throw scratchError(root, cause);
    }
    atExit(this.directory);
  }

  async remove(): Promise<void> {
    const cleanup = this.#cleanup;
    this.#cleanup = undefined;
    atHand.delete(this.directory);
    try {
      await cleanup?.();
    } catch (error) {
      // Somebody has tidied up before us.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}

/** When it is loaded it looks for the system's temporary directory, which need not be there for one that is given. */
async function loadTmp(root: string) {
  const { TMPDIR } = process.env;
  if (TMPDIR === undefined || existsSync(TMPDIR)) return await import("tmp-promise");
  try {
    process.env["TMPDIR"] = realpathSync(root);
    return await import("tmp-promise");
  } finally {
    process.env["TMPDIR"] = TMPDIR;
  }
}

/** What keeps a scratch directory from being made, or from being filled with what each has. */
export function scratchError(root: string, cause: unknown): LaunchError {
  const { message } = cause as Error;
  const why =
    shortageOf(cause) ??
    `${message}. Give another one by \`scratchRoot\`${root === tmpdir() ? " or TMPDIR" : ""}`;
  return new LaunchError(`The scratch directory could not be made in ${root}: ${why}`, { cause });
}

/** Those of this process that are there. */
const atHand = new Set<string>();

/**
 * The last thing this program does is to remove them, if it ends without having closed what they belong to. Who cleans up
 * after it gets to it some ms later, too late for whoever waits for its end; but also when a child has just written something.
 */
function atExit(directory: string): void {
  if (atHand.size === 0 && !isWatchingExit) {
    isWatchingExit = true;
    process.once("exit", () => {
      for (const each of atHand) {
        try {
          rmSync(each, { recursive: true, force: true });
        } catch {
          // See above.
        }
      }
    });
  }
  atHand.add(directory);
}

let isWatchingExit = false;

const swept = new Map<string, Promise<void>>();

/** Once per process and root: directories are left behind by kill -9 of both ends only, which is rare. */
function sweepOnce(root: string): Promise<void> {
  let done = swept.get(root);
  if (!done) swept.set(root, (done = sweep(root)));
  return done;
}

/** Removes what runs whose owner is certainly gone have left below `root`. */
export async function sweep(root: string): Promise<void> {
  const names = await readdir(root).catch(() => []);
  await Promise.all(
    names.filter(isOrphan).map((name) =>
      // Another run may be sweeping too, or it may belong to another user: neither is our concern.
      rm(path.join(root, name), { recursive: true, force: true }).catch(() => {}),
    ),
  );
}

function isOrphan(name: string): boolean {
  return (
    name.startsWith(OWNED_PREFIX) && ownerOf(name.slice(OWNED_PREFIX.length))?.state === "gone"
  );
}
