/**
 * The file in which the instances of a service note how many connections each has, to balance them: one number for each num. Instances map it, see
 * child/service/accept-balance.ts; this process only writes what an ended child no longer can.
 */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import type { Room } from "../launch/launcher.js";
import { MAX_CONCURRENCY } from "../wire/protocol.js";

/** The instance does not accept. */
const AWAY = -1;
const BYTES = 4;

export class ConnectionCounts {
  readonly file: string;
  /** -1 once it is closed: an instance may end later. */
  #fd: number;

  private constructor(file: string) {
    this.file = file;
    this.#fd = openSync(file, "wx", 0o600);
    try {
      writeSync(this.#fd, Buffer.from(new Int32Array(MAX_CONCURRENCY).fill(AWAY).buffer));
    } catch (error) {
      // The disk is full. The next instance tries again.
      this.close();
      rmSync(file, { force: true });
      throw error;
    }
  }

  /** Returns `undefined` for children that share no directory: threads. */
  static in(room: Room): ConnectionCounts | undefined {
    if (!room.makeDirectory) return undefined;
    room.makeDirectory();
    return new ConnectionCounts(`${room.directory}/connections`);
  }

  /** The child of this num has ended, perhaps without a word. */
  clear(num: number): void {
    if (this.#fd === -1) return;
    writeSync(this.#fd, Buffer.from(new Int32Array([AWAY]).buffer), 0, BYTES, num * BYTES);
  }

  close(): void {
    if (this.#fd !== -1) closeSync(this.#fd);
    this.#fd = -1;
  }
}
