/**
 * A snapshot of the heap in a file of the temporary directory that has no name any more: nothing of it remains however the child ends. V8 waits
 * for no reader while it writes a snapshot, and `v8.getHeapSnapshot()` keeps in memory what has not been read, which is all of it.
 */
import { closeSync, openSync, read, unlinkSync, writeSync } from "node:fs";
import type { Session } from "node:inspector/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { ownedName } from "../../system/owner.js";
import { type SnapshotCommand, writeSnapshot } from "./heap-snapshot.js";

/** As large as a pipe. */
const PIECE_BYTES = 64 * 1024;

const readPiece = promisify(read);

export class SnapshotFile {
  readonly #fd: number;

  /** Its owner alone may read it: a heap has all secrets of the program. */
  constructor() {
    const name = path.join(tmpdir(), ownedName());
    this.#fd = openSync(name, "wx+", 0o600);
    unlinkSync(name);
  }

  async take(session: Session, command: SnapshotCommand): Promise<void> {
    await writeSnapshot(session, command, (text) => this.#write(text));
  }

  /** Its text, in pieces. */
  async *pieces(): AsyncGenerator<string> {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    for (let at = 0; ;) {
      const { bytesRead } = await readPiece(this.#fd, piece, 0, PIECE_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield piece.toString("latin1", 0, bytesRead);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** A write to a disk that fills up may be a short one; the next one fails. */
  #write(text: string): void {
    const bytes = Buffer.from(text, "latin1");
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
  }
}
