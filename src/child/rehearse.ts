/**
 * Does in the fork server, once, what every child would otherwise do first: each would compile the same code again,
 * and pay for a copy of every page that this writes to.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { outputFile, resultFile } from "../child-files.js";
import { ONE_ITEM } from "../ledger.js";
import type { Payload, Start, WorkerSource } from "../protocol.js";
import { ForkedChild } from "./forked-child.js";
import type { Libc } from "./libc.js";
import type { LoadedWorker } from "./runner.js";

/** Items that come back as they are, one of them too long for the ledger: by then V8 has compiled it all and knows its types. */
const REHEARSALS = ["", "x".repeat(ONE_ITEM.cellBytes), ""];

/** Plays the life of a child, from fork to exit, with a worker that does nothing. */
export async function rehearse(
  libc: Libc,
  source: WorkerSource,
  readsOutput: boolean,
): Promise<void> {
  const { pid, title, reallyExit } = process;
  const set = readsOutput ? { directory: outputSet(), mark: "" } : { directory: tmpdir() };
  const memory = { buffer: new ArrayBuffer(ONE_ITEM.cellBytes), offset: 0 };
  for (const item of REHEARSALS) {
    const payload: Payload = { ...PAYLOAD, items: [item] };
    const start = { ...START, ...set, name: `forkmap-${randomUUID()}`, payload };
    await new Promise<void>((resolve) => {
      const child = new ForkedChild(stageLibc(libc, pid, resolve), STAGE_WORKER, source);
      child.begin({ id: "0", start }, memory, []);
    });
    if (item !== "") unlinkSync(resultFile(start, 0));
  }
  if (readsOutput) rmSync(set.directory, { recursive: true });
  process.reallyExit = reallyExit;
  process.title = title;
}

const PAYLOAD: Payload = { seq: 0, index: 0, items: [], results: true, fibers: 1, read: 0 };
const START: Start = {
  num: 0,
  generation: 1,
  directory: "",
  shape: ONE_ITEM,
  name: "",
};

/** A directory with files in place of the FIFOs that children print through. */
function outputSet(): string {
  const directory = mkdtempSync(path.join(tmpdir(), "forkmap-rehearsal-"));
  for (const name of ["stdout", "stderr"] as const) {
    writeFileSync(outputFile({ ...START, directory }, name), "");
  }
  return directory;
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
  };
}
