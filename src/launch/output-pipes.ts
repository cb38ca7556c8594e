/** The output streams of one child, where this process reads them instead of the child inheriting the program's own. */
import { readSync } from "node:fs";
import type { OutputName } from "../wire/output-mark.js";

export interface OutputPipes {
  /** Passes on everything printed so far; never waits. */
  drain(): void;
  /** Pauses or resumes reading; while it is paused, the child blocks once a pipe is full. */
  hold(isHeld: boolean): void;
}

/** @param bytes - only valid during the call */
export type OnOutput = (name: OutputName, bytes: Buffer) => void;

/** As large as a pipe. Shared by all children: its bytes are consumed before the next read. */
export const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

/** The most that a pipe or socket of a program without privileges can hold (/proc/sys/fs/pipe-max-size). */
const MOST_BYTES = 1024 * 1024;

/**
 * Reads what is available, and stops after `MOST_BYTES`: a busy writer cannot keep it reading forever. Returns whether
 * the other end is closed in all processes, so that nothing can follow.
 *
 * @param fd - non-blocking
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
    // Usually EAGAIN: nothing is available now. After any other error nothing can follow.
    return (error as NodeJS.ErrnoException).code !== "EAGAIN";
  }
}
