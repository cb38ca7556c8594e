/** Writes the lines of children to this program's own stdout and stderr, and reports back pressure of both. */
import { errorMonitor } from "node:events";
import type { OutputName } from "../wire/output-mark.js";

const waiting = new Set<() => void>();

/** Writes whole lines in one write, so that no other line comes between them. */
export function print(name: OutputName, lines: Buffer[]): void {
  const stream = process[name];
  // Not writable: the program has closed the stream, or its reader has gone.
  if (stream.writable) stream.write(Buffer.concat(lines));
}

/** Returns whether output waits in this process for a slower reader. */
export function isBackedUp(): boolean {
  return process.stdout.writableNeedDrain || process.stderr.writableNeedDrain;
}

/** Calls `callback` once no output waits any more. */
export function onceDrained(callback: () => void): void {
  if (waiting.size === 0) for (const event of EVENTS) forBoth((stream) => stream.on(event, look));
  waiting.add(callback);
}

/** An error or a close also ends the wait. `errorMonitor` leaves the handling of the error to the program. */
const EVENTS = ["drain", "close", errorMonitor as unknown as string];

function look(): void {
  // The event of an error comes before the state of the stream has changed.
  queueMicrotask(() => {
    if (waiting.size === 0 || isBackedUp()) return;
    for (const event of EVENTS) forBoth((stream) => stream.off(event, look));
    const callbacks = [...waiting];
    waiting.clear();
    for (const callback of callbacks) callback();
  });
}

function forBoth(apply: (stream: NodeJS.WriteStream) => void): void {
  apply(process.stdout);
  apply(process.stderr);
}
