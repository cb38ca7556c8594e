/**
 * `process.stdout` and `process.stderr` of a process whose output is read by the parent, or will be by that of its
 * children: whatever file is behind descriptors 1 and 2, they write to it at once and wait until it is written. Node's own
 * keep what does not fit for later, which a child that leaves by `_exit` has not, and write to a terminal through a
 * descriptor of their own.
 */
import { writeSync } from "node:fs";
import { Writable } from "node:stream";

/** Called before something is written by JavaScript. */
type BeforeWrite = (fd: StdioFd) => void;
export type StdioFd = 1 | 2;

const RETRY_MS = 1;

let beforeWrite: BeforeWrite | undefined;

/** To be called before anything is printed. */
export function takeOverStdio(): void {
  for (const stream of [new StdioStream(1), new StdioStream(2)]) {
    Object.defineProperty(process, stream.fd === 1 ? "stdout" : "stderr", {
      get: () => stream,
      enumerable: true,
      configurable: true,
    });
  }
}

export function setBeforeWrite(callback: BeforeWrite): void {
  beforeWrite = callback;
}

/** Writes all of it. */
export function writeFully(fd: StdioFd, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      // Somebody who shares it has made it one that does not wait.
      Atomics.wait(CLOCK, 0, 0, RETRY_MS);
    }
  }
}

const CLOCK = new Int32Array(new SharedArrayBuffer(4));

class StdioStream extends Writable {
  readonly fd: StdioFd;
  readonly _type = "fs";
  readonly _isStdio = true;

  constructor(fd: StdioFd) {
    super();
    this.fd = fd;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    try {
      beforeWrite?.(this.fd);
      writeFully(this.fd, chunk);
    } catch (error) {
      return done(error as Error);
    }
    done();
  }
}
