/** The child's end of the channel, synchronous: neither the fork server nor an exiting child runs an event loop. */
import { readSync, writeSync } from "node:fs";
import { encodeLine, LineSplitter } from "../../wire/lines.js";
import { CHANNEL_FD, ENTRY_MARK } from "../../wire/protocol.js";

/** Enough for many requests in one read; larger items travel through scratch. */
const READ_BYTES = 64 * 1024;

// Only our own entries import this module, so this process has reached its entry.
delete process.env[ENTRY_MARK];

const splitter = new LineSplitter();
const buffer = Buffer.alloc(READ_BYTES);

/** Returns the lines received; blocks until there are some bytes. `undefined` at the end: the parent is gone. */
export function readLines(): string[] | undefined {
  let count: number;
  try {
    count = readSync(CHANNEL_FD, buffer);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EAGAIN" || code === "EINTR") return [];
    // The parent was killed with bytes unread.
    if (code === "ECONNRESET") return undefined;
    throw error;
  }
  return count === 0 ? undefined : splitter.push(buffer.subarray(0, count));
}

/** Sends one message; `false` if the parent has closed the channel. */
export function send(message: unknown): boolean {
  const bytes = Buffer.from(encodeLine(message));
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(CHANNEL_FD, bytes, at);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPIPE") return false;
    throw error;
  }
}
