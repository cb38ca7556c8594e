/**
 * `process.stdout` and `process.stderr` of our processes: every write is synchronous. Node's own streams buffer what a
 * pipe or socket does not accept; a child that leaves by `_exit` or `process.exit` would lose that buffer, and each
 * fork would copy the fork server's. To files and terminals Node itself writes synchronously.
 */
import { fstatSync, writeSync } from "node:fs";
import { Writable } from "node:stream";

/** Called before JavaScript code writes. */
type BeforeWrite = (fd: StdioFd) => void;
export type StdioFd = 1 | 2;

/** Waits grow while the reader accepts nothing: a short pause costs little time, a long one little CPU. */
const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 16;

let beforeWrite: BeforeWrite | undefined;

/**
 * Replaces both streams. Must be called before anything is printed.
 *
 * @param which - `"pipes"`: only streams whose descriptor (1, 2) is a pipe or socket; `"all"`: both, as the descriptors
 * may be redirected later and Node writes to a terminal through a descriptor of its own
 */
export function takeOverStdio(which: "pipes" | "all"): void {
  for (const [name, fd] of [
    ["stdout", 1],
    ["stderr", 2],
  ] as const) {
    if (which === "pipes" && !isPipe(fd)) continue;
    const stream = new StdioStream(fd);
    const get = () => stream;
    Object.defineProperty(process, name, { get, enumerable: true, configurable: true });
    // The console keeps the stream it first printed to, possibly for a module loaded earlier (`--import`).
    Reflect.set(console, `_${name}`, stream);
  }
}

/** Makes a thread's streams write directly, not through the main thread. They are kept: the main thread uses them. */
export function takeOverThreadStdio(): void {
  for (const [stream, fd] of [
    [process.stdout, 1],
    [process.stderr, 2],
  ] as const) {
    stream._writev = (chunks, done) => {
      try {
        for (const { chunk, encoding } of chunks as Written[]) {
          writeFully(fd, typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk);
        }
      } catch (error) {
        return done(error as Error);
      }
      done();
    };
  }
}

interface Written {
  readonly chunk: string | Uint8Array;
  readonly encoding: BufferEncoding;
}

export function setBeforeWrite(callback: BeforeWrite): void {
  beforeWrite = callback;
}

/** Writes all bytes, waiting as long as it takes. */
export function writeFully(fd: StdioFd, bytes: Uint8Array): void {
  let wait = FIRST_WAIT_MS;
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
      wait = FIRST_WAIT_MS;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      // Another process that shares the pipe, such as the program's parent, has set O_NONBLOCK, and may rely on it.
      Atomics.wait(CLOCK, 0, 0, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }
}

const CLOCK = new Int32Array(new SharedArrayBuffer(4));

function isPipe(fd: StdioFd): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isFIFO() || stat.isSocket();
  } catch {
    // The descriptor is closed.
    return false;
  }
}

class StdioStream extends Writable {
  readonly fd: StdioFd;
  readonly _type = "fs";
  readonly _isStdio = true;
  /** For programs that call `process.stdout._handle.setBlocking(true)`, which these streams do not need. */
  readonly _handle = { setBlocking: () => 0 };

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

  /** Like Node's own stream, can be written to after `end()` and after an error. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error);
    (this as unknown as { _undestroy(): void })._undestroy();
  }

  destroySoon(): void {
    this.destroy();
  }

  /** Does nothing: the stream never keeps the process alive. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
