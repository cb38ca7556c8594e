/**
 * What the worker's module wants done when its process ends. Each child does it, as a spawned one does: a logger writes what it
 * holds back. But what was there before the fork is not a child's to remove, as others still use it; the fork server, which
 * ends last, does that.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { atEnd } from "./watch-exit.js";

type Listener = (this: NodeJS.Process, code: number) => void;
type Removal = (path: fs.PathLike, ...options: unknown[]) => void;

/** All that a listener can remove by: when it runs, nothing is waited for. */
const REMOVALS = ["rmSync", "rmdirSync", "unlinkSync"] as const;

/** Node's own, for an entry that is still being awaited: it would have every child exit with 13. */
let nodes: ReadonlySet<unknown> = new Set();
let isGuarding = false;
let loadedAt = Infinity;

/** To be called before the worker's module is loaded: references it keeps are to those that can be kept from removing. */
export function guardRemovals(): void {
  nodes = new Set(process.rawListeners("exit"));
  for (const name of REMOVALS) {
    const original = fs[name] as Removal;
    fs[name] = (path: fs.PathLike, ...options: unknown[]) => {
      if (!isGuarding || !wasThere(path)) original(path, ...options);
    };
  }
  syncBuiltinESMExports();
}

export class ExitListeners {
  readonly #listeners = (process.rawListeners("exit") as Listener[]).filter(
    (each) => !nodes.has(each),
  );
  readonly #serverPid = process.pid;

  /** Takes them, as the worker has been loaded: what is rehearsed ends as well. */
  constructor() {
    process.removeAllListeners("exit");
    loadedAt = Date.now();
  }

  /** Puts them back, for the children and for the end of the fork server. */
  restore(): void {
    for (const listener of this.#listeners) {
      const run: Listener = (code) => this.#run(listener, code);
      // By which an emitter finds it when it is to be taken out.
      const { listener: once } = listener as { listener?: Listener };
      process.on("exit", Object.assign(run, { listener: once ?? listener }));
    }
  }

  /** Ends the fork server. */
  readonly endServer = (): never => {
    atEnd(() => {});
    process.exit(0);
  };

  #run(listener: Listener, code: number): void {
    isGuarding = process.pid !== this.#serverPid;
    try {
      Reflect.apply(listener, process, [code]);
    } finally {
      isGuarding = false;
    }
  }
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
