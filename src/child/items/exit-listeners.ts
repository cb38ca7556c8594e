/**
 * The `exit` listeners of the worker's module. Each forked child runs them, as a spawned child does: a logger flushes
 * its buffer. But a child must not remove files from before the fork, which others still use; the fork server ends
 * last, runs the listeners too, and with them removes these files.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { atEnd } from "./watch-exit.js";

type Listener = (this: NodeJS.Process, code: number) => void;
type Removal = (path: fs.PathLike, ...rest: unknown[]) => void;
type Removals = Record<(typeof REMOVALS)[number], Removal>;

/** All functions by which a listener can remove, move or empty a file. Synchronous: a listener cannot await. */
const REMOVALS = ["rmSync", "rmdirSync", "unlinkSync", "renameSync", "truncateSync"] as const;

/** Node's own listeners. The one for a pending top-level await would make every child exit with code 13. */
let nodes: ReadonlySet<unknown> = new Set();
let isGuarding = false;
let loadedAt = Infinity;

/** Replaces these functions. Called before the worker's module is loaded, which may keep references to them. */
export function guardRemovals(): void {
  nodes = new Set(process.rawListeners("exit"));
  for (const name of REMOVALS) {
    const original = fs[name] as Removal;
    (fs as unknown as Removals)[name] = (path, ...rest) => {
      if (!isGuarding || !isOlder(path)) original(path, ...rest);
    };
  }
  syncBuiltinESMExports();
}

/** Makes removals skip files from before the fork. Called in a child that is about to end. */
export function keepOlderFiles(): void {
  isGuarding = true;
}

/** Takes Node's own listeners off. Called once the worker is loaded. */
export function keepExitListeners(): void {
  const listeners = process.rawListeners("exit") as Listener[];
  process.removeAllListeners("exit");
  for (const listener of listeners) if (!nodes.has(listener)) process.on("exit", listener);
  // The next ms: Date.now() is rounded down, and a file may be made in the same ms. No child makes one that early.
  loadedAt = Date.now() + 1;
}

/** Ends the fork server. */
export function endServer(): never {
  atEnd(() => {});
  process.exit(0);
}

/** Whether the file is from before the fork. Unknown counts as newer: it is removed, as by a spawned child. */
function isOlder(path: fs.PathLike): boolean {
  try {
    const { birthtimeMs } = fs.lstatSync(path);
    return birthtimeMs > 0 && birthtimeMs < loadedAt;
  } catch {
    return false;
  }
}
