/**
 * How a child tells its stack even while its event loop is blocked.
 *
 * The child has a connection to its supervisor for this alone. For each byte that comes, it writes a line of JSON with the
 * stack of its main thread at that moment: V8 is interrupted in the middle of the JavaScript that runs, see interrupt-calls.ts.
 * The supervisor's end is supervisor/stack-request.ts.
 *
 * V8 interrupts only JavaScript. A thread in a native call (`execSync`, zlib, a long sort of numbers) answers when that has
 * returned, and one that waits for events when one has come. So each line says when its stack was taken.
 */
import { isMainThread } from "node:worker_threads";
import { stringify } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import { SOCKET_FILE, withSocketPath } from "../../wire/socket-path.js";
import { MAX_STACK_LINE_BYTES, type StackLine } from "../../wire/thread-dump.js";
import { currentStack } from "./current-stack.js";
import { type InterruptCalls, interruptCalls } from "./interrupt-calls.js";

/** Why a process cannot be interrupted, in words. */
export interface NoInterrupts {
  readonly reason: string;
}

/**
 * Binds what interrupts need. The fork server calls it before it forks: its children have it without memory of their own, and open
 * their interrupts in 1 ms. It creates no thread.
 *
 * @returns why there can be no interrupts, if so
 */
export function prepareInterrupts(): NoInterrupts | undefined {
  try {
    interruptCalls();
    return undefined;
  } catch (error) {
    return { reason: (error as Error).message };
  }
}

/** The process has one stream and one block for all of them, see interrupt-calls.ts. */
let current: Interrupts | undefined;

export class Interrupts {
  readonly #calls: InterruptCalls;
  readonly #fd: number;
  readonly #captureState: () => object;
  /** The supervisor is there, as far as the child knows. */
  #isOpen = true;
  #isInside = false;
  /** An interrupt has come while one was answered. */
  #hasMissed = false;
  /** The last line was not written whole. */
  #isCut = false;
  /** `check` has found that a byte has come, but no interrupt. */
  #isOverdue = false;

  private constructor(calls: InterruptCalls, fd: number, captureState: () => object) {
    this.#calls = calls;
    this.#fd = fd;
    this.#captureState = captureState;
  }

  /**
   * Connects to the supervisor and lets it interrupt this process from now on.
   *
   * @param directory - holds the supervisor's socket
   * @param hello - the first line, without its end
   * @param captureState - what else a line has. It runs in the middle of any code: it must only read, and call no code of the user
   */
  static open(
    directory: string,
    hello: string,
    captureState: () => object,
  ): Interrupts | NoInterrupts {
    // A thread has an isolate of its own, and koffi's callbacks belong to the thread that loaded it.
    if (!isMainThread) return { reason: "only the main thread of a process can be interrupted" };
    if (current?.isOpen) return { reason: "this process has interrupts already" };
    current?.close();
    let calls: InterruptCalls;
    let fd: number;
    try {
      calls = interruptCalls();
      fd = withSocketPath(directory, SOCKET_FILE, (path) => calls.connect(path));
    } catch (error) {
      return { reason: (error as Error).message };
    }
    const interrupts = new Interrupts(calls, fd, captureState);
    calls.onInterrupt(() => interrupts.#onInterrupt());
    const reason = interrupts.#begin(hello);
    if (reason !== undefined) {
      calls.onInterrupt(undefined);
      calls.close(fd);
      return { reason };
    }
    current = interrupts;
    return interrupts;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Answers a byte whose interrupt was lost: its callback could not run, as the stack was full, or no thread could be made for it.
   * Call it from the event loop now and then; it takes 1 µs.
   */
  check(): void {
    if (!this.#isOpen) return;
    // A time limit that ends JavaScript also skips what would set it.
    this.#isInside = false;
    // A thread may be about to request the interrupt. It has done so when this is called the next time.
    if (this.#isOverdue && !this.#calls.isArmed()) this.#onInterrupt();
    else this.#isOverdue = !this.#calls.isArmed();
  }

  /**
   * Ends it, and frees what belongs to this connection. Harmless twice. Call it before Node tears down its environment, as a spawned
   * child does at its end, so that no thread interrupts what is gone; a forked child just exits.
   */
  close(): void {
    if (current !== this) return;
    current = undefined;
    this.#calls.onInterrupt(undefined);
    if (this.#isOpen) this.#end();
  }

  #begin(hello: string): string | undefined {
    if (!this.#calls.send(this.#fd, `${hello}\n`)) return "the supervisor does not read";
    const errno = this.#calls.arm(this.#fd);
    return errno === 0 ? undefined : `aio_read failed (errno ${errno})`;
  }

  /** Runs in the middle of any JavaScript, or of itself, and must not throw. */
  #onInterrupt(): void {
    if (this.#isInside) {
      this.#hasMissed = true;
      return;
    }
    do {
      this.#isInside = true;
      this.#hasMissed = false;
      try {
        this.#answer();
      } catch {
        // The stack is full, or a script with a time limit has reached it. `check` arms it again.
      }
      this.#isInside = false;
      // Looked at last: an interrupt that comes from here on is answered by itself.
    } while (this.#hasMissed);
  }

  #answer(): void {
    const calls = this.#calls;
    // An interrupt of a connection that is closed.
    if (!this.#isOpen || calls.isArmed()) return;
    this.#isOverdue = false;
    if (calls.taken() !== 1) {
      this.#end();
      return;
    }
    try {
      const line = lineOf(currentStack(calls.entry), this.#captureState);
      // A reader drops what is not JSON: the beginning of a line that was not written whole.
      this.#isCut = !calls.send(this.#fd, this.#isCut ? `\n${line}` : line);
    } finally {
      // Without a thread to wait for the next byte, the connection is of no use.
      if (calls.arm(this.#fd) !== 0) this.#end();
    }
  }

  #end(): void {
    const calls = this.#calls;
    this.#isOpen = false;
    calls.disarm();
    calls.shutdown(this.#fd);
    // Waits for the thread: it would read from whatever has the same descriptor next. It was woken, so that takes some µs.
    const until = monotonic() + END_MS;
    while (calls.isArmed() && monotonic() < until);
    if (!calls.isArmed()) calls.close(this.#fd);
  }
}

/** Longer than a thread waits for a processor. The descriptor stays open if it does not. */
const END_MS = 1000;

function lineOf(stack: string, captureState: () => object): string {
  const at = monotonic();
  let state: object;
  try {
    state = captureState();
    if (Buffer.byteLength(stringify(state)) > MAX_STACK_LINE_BYTES / 2) state = {};
  } catch {
    state = {};
  }
  for (let text = stack; ; text = text.slice(0, text.length >> 1)) {
    const line = `${stringify({ ...state, stack: text, at } satisfies StackLine)}\n`;
    if (Buffer.byteLength(line) <= MAX_STACK_LINE_BYTES) return line;
  }
}
