/** The child's end of the channel, synchronous: neither the fork server nor a child at its end has a loop to wait in. */
import { readSync, writeSync } from "node:fs";
import { encodeLine, LineSplitter } from "../../wire/lines.js";
import { CHANNEL_FD, ENTRY_MARK } from "../../wire/protocol.js";

/** Enough for many requests in one read; larger items come through scratch. */
const READ_BYTES = 64 * 1024;

// Whoever has a channel is one of our entries.
delete process.env[ENTRY_MARK];

const splitter = new LineSplitter();
const buffer = Buffer.alloc(READ_BYTES);

/** The lines that have come; waits for at least some bytes. `undefined` at the end: the parent is gone. */
export function readLines(): string[] | undefined {
  let count: number;
  try {
    count = readSync(CHANNEL_FD, buffer);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EAGAIN" || code === "EINTR") return [];
    // Reset by a parent that was killed with bytes unread.
    if (code === "ECONNRESET") return undefined;
    throw error;
  }
  return count === 0 ? undefined : splitter.push(buffer.subarray(0, count));
}

/** Sends one message; `false` when nobody is there to read it. */
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
