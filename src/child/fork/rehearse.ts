/**
 * Plays the life of a child once in the fork server. Without this, every child would compile the same code again and
 * pay for a copy of every page that compiling writes to.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ownedName } from "../../system/owner.js";
import { outputFile } from "../../wire/child-files.js";
import { ONE_ITEM } from "../../wire/ledger.js";
import type { Payload, Start } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { exitBy, unawaited } from "../items/watch-exit.js";
import type { Libc } from "../libc.js";
import { ForkedChild } from "./forked-child.js";

/** Items, one of them too long for the ledger: after these V8 has compiled all code and knows its types. */
export const REHEARSALS = ["", "x".repeat(ONE_ITEM.cellBytes), ""];

/**
 * Plays the life of a child, from fork to exit, with a worker that returns its item. All of it has happened when this
 * returns: the fork server's event loop, where it would go on, never turns again once it has forked.
 */
export function rehearse(
  libc: Libc,
  source: WorkerSource,
  readsOutput: boolean,
  item: string,
): void {
  const directory = path.join(tmpdir(), ownedName());
  // Kept free for `readdirSync`: other descriptors may run out.
  const spare = openSync("/dev/null", "r");
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    closeSync(spare);
    throw error;
  }
  try {
    if (readsOutput) makeOutputFiles(directory);
    unawaited(() => playThrough(libc, source, directory, readsOutput, item));
  } finally {
    closeSync(spare);
    // Not `rmSync`, which would load more Node modules.
    for (const name of readdirSync(directory)) unlinkSync(path.join(directory, name));
    rmdirSync(directory);
  }
}

function playThrough(
  libc: Libc,
  source: WorkerSource,
  directory: string,
  readsOutput: boolean,
  item: string,
): void {
  const { pid, title } = process;
  const reallyExit = exitBy(() => {
    throw new Error("A rehearsal ended the process");
  });
  const set = { directory, ...(readsOutput ? { mark: "" } : {}) };
  const memory = { buffer: new ArrayBuffer(ONE_ITEM.cellBytes), offset: 0 };
  try {
    const start = { ...START, ...set, payload: { ...PAYLOAD, items: [item] } };
    new ForkedChild(stageLibc(libc, pid), STAGE_WORKER, source, undefined, {}).begin(
      { id: "0", start },
      memory,
      [],
    );
  } finally {
    exitBy(reallyExit);
    process.title = title;
  }
}

const PAYLOAD: Payload = { seq: 0, index: 0, items: [], results: true, fibers: 1, read: 0 };
const START: Start = {
  num: 0,
  generation: 1,
  directory: "",
  shape: ONE_ITEM,
  name: "rehearsal",
};

/** Creates files in place of the FIFOs through which children print. */
function makeOutputFiles(directory: string): void {
  for (const name of ["stdout", "stderr"] as const) {
    writeFileSync(outputFile({ ...START, directory }, name), "");
  }
}

const STAGE_WORKER = { process: async (item: string) => item } as unknown as LoadedWorker;

/** Returns a `Libc` that calls the real functions, but only where that does not harm the fork server. */
function stageLibc(libc: Libc, pid: number): Libc {
  return {
    ...libc,
    // Not with the parent: this process outlives it to clean up after it.
    dieWithParent: () => libc.dieWithParent(0),
    getppid: () => (libc.getppid(), pid),
    close: () => libc.close(-1),
    dup2: (from) => libc.dup2(from, from),
    exit: (() => {}) as unknown as () => never,
    finishWork() {},
    // Reviving the loop could lose the thread pool's notice of finished work, so only without pending requests.
    reviveLoop() {
      if (libc.pendingRequests() === 0) libc.reviveLoop();
    },
  };
}
