/**
 * Does in the fork server, once, what every child would otherwise do first: each would compile the same code again,
 * and pay for a copy of every page that this writes to.
 */
import { randomUUID } from "node:crypto";
import { unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { WorkerSource } from "../protocol.js";
import { Board, CELL_BYTES } from "./board.js";
import { ForkedChild } from "./forked-child.js";
import type { Libc } from "./libc.js";
import type { LoadedWorker } from "./run-item.js";

/** How often a child's life is rehearsed: by then V8 has compiled it and knows its types. */
const REHEARSALS = 3;

/** Plays the life of a child, from fork to exit, with a worker that does nothing. */
export async function rehearse(libc: Libc, source: WorkerSource): Promise<void> {
  const { pid, title, reallyExit } = process;
  const board = new Board(new ArrayBuffer(CELL_BYTES), 1);
  for (let i = 0; i < REHEARSALS; i += 1) {
    const file = path.join(tmpdir(), `forkmap-${randomUUID()}`);
    await new Promise<void>((resolve) => {
      const child = new ForkedChild(stageLibc(libc, pid, resolve), board, STAGE_WORKER, source);
      const cell = board.take()!;
      child.begin({ id: "0", payload: { ...PAYLOAD, resultFile: file, wordFile: file } }, cell, []);
      board.giveBack(cell);
    });
    unlinkSync(file);
  }
  process.reallyExit = reallyExit;
  process.title = title;
}

const PAYLOAD = { index: 0, attempt: 1, num: 0, generation: 1, item: "" };

const STAGE_WORKER = { process: async () => "" } as unknown as LoadedWorker;

/** Calls the real functions, as far as that does the fork server no harm. */
function stageLibc(libc: Libc, pid: number, onExit: () => void): Libc {
  return {
    ...libc,
    getppid: () => (libc.getppid(), pid),
    close: () => libc.close(-1),
    exit: onExit as () => never,
  };
}
