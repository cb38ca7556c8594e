/**
 * What the worker's module wants done when its process ends. Each child does it, as a spawned one does: a logger writes what it
 * holds back. But what was there before the fork is not a child's to remove, as others still use it; the fork server, which
 * ends last, does that.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { atEnd } from "./watch-exit.js";

type Listener = (this: NodeJS.Process, code: number) => void;
type Removal = (path: fs.PathLike, ...rest: unknown[]) => void;
type Removals = Record<(typeof REMOVALS)[number], Removal>;

/** All that a listener can take a file away by, or what is in it: when it runs, nothing is waited for. */
const REMOVALS = ["rmSync", "rmdirSync", "unlinkSync", "renameSync", "truncateSync"] as const;

/** Node's own, for an entry that is still being awaited: it would have every child exit with 13. */
let nodes: ReadonlySet<unknown> = new Set();
let isGuarding = false;
let loadedAt = Infinity;

/** To be called before the worker's module is loaded: references it keeps are to those that can be kept from removing. */
export function guardRemovals(): void {
  nodes = new Set(process.rawListeners("exit"));
  for (const name of REMOVALS) {
    const original = fs[name] as Removal;
    (fs as unknown as Removals)[name] = (path, ...rest) => {
      if (!isGuarding || !wasThere(path)) original(path, ...rest);
    };
  }
  syncBuiltinESMExports();
}

/** To be called in a child that is about to end. */
export function keepWhatWasThere(): void {
  isGuarding = true;
}

export class ExitListeners {
  readonly #listeners = (process.rawListeners("exit") as Listener[]).filter(
    (each) => !nodes.has(each),
  );

  /** Takes them, as the worker has been loaded: what is rehearsed ends as well. */
  constructor() {
    process.removeAllListeners("exit");
    loadedAt = Date.now();
  }

  /** Puts them back, for the children and for the end of the fork server. */
  restore(): void {
    isGuarding = false;
    for (const listener of this.#listeners) process.on("exit", listener);
  }

  /** Ends the fork server. */
  readonly endServer = (): never => {
    atEnd(() => {});
    process.exit(0);
  };
}

/** Since before the fork. Where the file system does not tell, it is removed, as by a spawned child. */
function wasThere(path: fs.PathLike): boolean {
  try {
    const { birthtimeMs } = fs.lstatSync(path);
    return birthtimeMs > 0 && birthtimeMs < loadedAt;
  } catch {
    return false;
  }
}
