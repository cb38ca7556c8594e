/**
 * Does in the fork server, once, what every child would otherwise do first: each would compile the same code again,
 * and pay for a copy of every page that this writes to.
 */
import { mkdirSync, readdirSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { outputFile } from "../../wire/child-files.js";
import { ONE_ITEM } from "../../wire/ledger.js";
import { ownedName } from "../../system/owner.js";
import type { Payload, Start } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { ForkedChild } from "./forked-child.js";
import type { Libc } from "../libc.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { exitBy, withOwnEmit } from "../items/watch-exit.js";

/** Items that come back as they are, one of them too long for the ledger: by then V8 has compiled it all and knows its types. */
const REHEARSALS = ["", "x".repeat(ONE_ITEM.cellBytes), ""];

/** Plays the life of a child, from fork to exit, with a worker that does nothing. */
export async function rehearse(
  libc: Libc,
  source: WorkerSource,
  readsOutput: boolean,
): Promise<void> {
  const directory = path.join(tmpdir(), ownedName());
  mkdirSync(directory, { mode: 0o700 });
  try {
    if (readsOutput) makeOutputFiles(directory);
    await withOwnEmit(() => playThrough(libc, source, directory, readsOutput));
  } finally {
    // Not `rmSync`, which would load more of Node.
    for (const name of readdirSync(directory)) unlinkSync(path.join(directory, name));
    rmdirSync(directory);
  }
}

async function playThrough(
  libc: Libc,
  source: WorkerSource,
  directory: string,
  readsOutput: boolean,
): Promise<void> {
  const { pid, title } = process;
  const reallyExit = exitBy(() => {
    throw new Error("A rehearsal ended the process");
  });
  const set = { directory, ...(readsOutput ? { mark: "" } : {}) };
  const memory = { buffer: new ArrayBuffer(ONE_ITEM.cellBytes), offset: 0 };
  try {
    for (const item of REHEARSALS) {
      const start = { ...START, ...set, payload: { ...PAYLOAD, items: [item] } };
      await new Promise<void>((resolve) => {
        const stage = stageLibc(libc, pid, resolve);
        new ForkedChild(stage, STAGE_WORKER, source, undefined).begin(
          { id: "0", start },
          memory,
          [],
        );
      });
    }
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

/** In place of the FIFOs that children print through. */
function makeOutputFiles(directory: string): void {
  for (const name of ["stdout", "stderr"] as const) {
    writeFileSync(outputFile({ ...START, directory }, name), "");
  }
}

const STAGE_WORKER = { process: async (item: string) => item } as unknown as LoadedWorker;

/** Calls the real functions, as far as that does the fork server no harm. */
function stageLibc(libc: Libc, pid: number, onExit: () => void): Libc {
  return {
    ...libc,
    getppid: () => (libc.getppid(), pid),
    close: () => libc.close(-1),
    dup2: (from) => libc.dup2(from, from),
    exit: onExit as () => never,
    finishWork() {},
    // The thread pool's word that work is done could get lost, and the work with it.
    reviveLoop() {
      if (libc.pendingRequests() === 0) libc.reviveLoop();
    },
  };
}
