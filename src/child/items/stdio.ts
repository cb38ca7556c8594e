/**
 * `process.stdout` and `process.stderr` of our processes: what is written is written at once, and waited for. Node's own
 * keep what a pipe or socket does not take for later; a child that leaves by `_exit` or `process.exit` has no later, and
 * what the fork server still has would be copied by each fork. Files and terminals Node itself writes to at once.
 */
import { fstatSync, writeSync } from "node:fs";
import { Writable } from "node:stream";

/** Called before something is written by JavaScript. */
type BeforeWrite = (fd: StdioFd) => void;
export type StdioFd = 1 | 2;

/** While the other end takes nothing, the waits grow: a reader that comes back soon is served soon, one that sleeps costs little. */
const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 16;

let beforeWrite: BeforeWrite | undefined;

/**
 * To be called before anything is printed.
 *
 * @param which - `"pipes"`: where descriptors 1 and 2 are pipes or sockets; `"all"`: whatever they are or will be, for
 * Node writes to a terminal through a descriptor of its own
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
    // A module loaded before (`--import`) may have printed by it: the console keeps the stream it began with.
    Reflect.set(console, `_${name}`, stream);
  }
}

/** In a thread Node's own write through its main thread. They stay, because that talks to them. */
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

/** Writes all of it. */
export function writeFully(fd: StdioFd, bytes: Uint8Array): void {
  let wait = FIRST_WAIT_MS;
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
      wait = FIRST_WAIT_MS;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      // One who shares the pipe, such as this program's parent, has made it one that does not wait. It may rely on that.
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
    // It is closed.
    return false;
  }
}

class StdioStream extends Writable {
  readonly fd: StdioFd;
  readonly _type = "fs";
  readonly _isStdio = true;
  /** For programs that ask for what is so by itself: `process.stdout._handle.setBlocking(true)`. */
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

  /** As Node's own, it can be written to after `end()` and after an error. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error);
    (this as unknown as { _undestroy(): void })._undestroy();
  }

  destroySoon(): void {
    this.destroy();
  }

  /** It never keeps the process alive. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
