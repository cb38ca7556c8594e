/** The streams of one child that this process reads, instead of the child writing to those of the program. */
import { readSync } from "node:fs";
import type { OutputName } from "../wire/output-mark.js";

export interface OutputPipes {
  /** Hands on all that has been printed up to now; waits for nothing. */
  drain(): void;
  /** Whether no more is read for the moment: the child waits once a pipe is full. */
  hold(isHeld: boolean): void;
}

/** @param bytes - only valid during the call */
export type OnOutput = (name: OutputName, bytes: Buffer) => void;

/** As much as a pipe holds. One for all: what is in it has been used before the next read. */
export const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

/** The most that a pipe or socket of a program without privileges can hold (/proc/sys/fs/pipe-max-size). */
const MOST_BYTES = 1024 * 1024;

/**
 * Reads what is there, and of what is being written meanwhile not so much that it would never end. Whether nobody holds the other end any more, so that nothing can follow.
 *
 * @param fd - one that does not block
 */
export function readAll(fd: number, onBytes: (bytes: Buffer) => void): boolean {
  try {
    for (let bytes = 0; bytes < MOST_BYTES;) {
      const count = readSync(fd, READ_BUFFER);
      if (count === 0) return true;
      onBytes(READ_BUFFER.subarray(0, count));
      bytes += count;
    }
    return false;
  } catch (error) {
    // EAGAIN, the usual one; after any other nothing is to be had either.
    return (error as NodeJS.ErrnoException).code !== "EAGAIN";
  }
}
