/** This program's own stdout and stderr, as far as lines of children are written there; and whether they take more. */
import { errorMonitor } from "node:events";
import type { OutputName } from "../../wire/output-mark.js";

const waiting = new Set<() => void>();

/** Writes whole lines in one go, so that no other line comes between. */
export function print(name: OutputName, lines: Buffer[]): void {
  const stream = process[name];
  // The program has closed it, or its reader has gone.
  if (stream.writable) stream.write(Buffer.concat(lines));
}

/** Whether what was printed waits for a reader that is slower than we are. */
export function isBackedUp(): boolean {
  return process.stdout.writableNeedDrain || process.stderr.writableNeedDrain;
}

/** Calls `callback` once that is over. */
export function onceDrained(callback: () => void): void {
  if (waiting.size === 0) for (const event of EVENTS) forBoth((stream) => stream.on(event, look));
  waiting.add(callback);
}

/** After an error nothing is waited for any more; what becomes of it is the program's business. */
const EVENTS = ["drain", "close", errorMonitor as unknown as string];

function look(): void {
  // An error is told before the stream knows of it.
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
