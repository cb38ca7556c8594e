/**
 * How a child tells its stack even while its event loop is blocked.
 *
 * The child has a connection to its supervisor for this alone. For each byte that comes, it writes a line of JSON with the
 * stack of its main thread at that moment: V8 is interrupted in the middle of the JavaScript that runs, see interrupt-calls.ts.
 * The supervisor's end is supervisor/stack-request.ts.
 *
 * V8 interrupts only JavaScript. A thread in a native call (`execSync`, zlib, a long sort of numbers) answers when that has
 * returned, and one that waits for events when one has come. So each line says when its stack was taken.
 *
 * A script with a time limit is not interrupted, see time-limits.ts: who asks has the answer when it has ended. An interrupt that was requested right
 * before it began tells no stack: V8 could end the handling instead of the script. It looks for that where a function begins and where a
 * loop turns, so `entry` does neither then.
 */
import { isMainThread } from "node:worker_threads";
import { stringify } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import { SOCKET_FILE, withSocketPath } from "../../wire/socket-path.js";
import { MAX_STACK_LINE_BYTES, type StackLine } from "../../wire/thread-dump.js";
import { currentStack, finishStack } from "./current-stack.js";
import {
  EINPROGRESS,
  type InterruptCalls,
  interruptCalls,
  MSG_NOSIGNAL,
} from "./interrupt-calls.js";
import { limits, watchTimeLimits } from "./time-limits.js";

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
    interruptCalls(Interrupts.entry);
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
      calls = interruptCalls(Interrupts.entry);
      fd = withSocketPath(directory, SOCKET_FILE, (path) => calls.connect(path));
    } catch (error) {
      return { reason: (error as Error).message };
    }
    const interrupts = new Interrupts(calls, fd, captureState);
    current = interrupts;
    limits.onFirst = () => void calls.pushBack(0, calls.file);
    limits.onLast = () => {
      if (current) current.#resume();
    };
    watchTimeLimits();
    const reason = interrupts.#begin(hello);
    if (reason === undefined) return interrupts;
    current = undefined;
    calls.close(fd);
    return { reason };
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Answers a byte whose interrupt was lost: it could not be handled, as the stack was full or a time limit was reached, or no
   * thread could be made for it. Call it from the event loop now and then; it takes 1 µs.
   */
  check(): void {
    if (!this.#isOpen) return;
    this.#isInside = false;
    forgetFailure(this.#calls);
    finishStack();
    // A thread may be about to request the interrupt. It has done so when this is called the next time.
    if (this.#isOverdue && !this.#isArmed()) Interrupts.entry();
    else this.#isOverdue = !this.#isArmed();
  }

  /**
   * Ends it, and frees what belongs to this connection. Harmless twice. Call it before Node tears down its environment, as a spawned
   * child does at its end, so that no thread interrupts what is gone; a forked child just exits.
   */
  close(): void {
    forgetFailure(this.#calls);
    if (this.#isOpen) this.#end();
    if (current === this) current = undefined;
  }

  /** A script with a time limit has ended. What was asked meanwhile is answered now. */
  #resume(): void {
    if (!this.#isOpen) return;
    this.#calls.purge(this.#calls.file);
    if (!this.#isArmed()) Interrupts.entry();
  }

  #begin(hello: string): string | undefined {
    const calls = this.#calls;
    const line = `${hello}\n`;
    const bytes = calls.length(line);
    if (calls.send(this.#fd, line, bytes, MSG_NOSIGNAL) !== bytes)
      return "the supervisor does not read";
    calls.clearError(calls.file);
    calls.purge(calls.file);
    calls.set(this.#fd, true);
    return calls.aioRead(calls.block) === 0
      ? undefined
      : `aio_read failed (errno ${calls.errno()})`;
  }

  /**
   * Handles an interrupt, in the middle of any JavaScript or of itself.
   *
   * @internal
   */
  static readonly entry = (): void => {
    const self = current;
    // An interrupt of a connection that is closed.
    if (!self || !self.#isOpen) return;
    if (self.#isInside) {
      self.#hasMissed = true;
      return;
    }
    const calls = self.#calls;
    const { block, file } = calls;
    do {
      self.#isInside = true;
      self.#hasMissed = false;
      try {
        calls.errno();
      } catch {
        // As in `forgetFailure`.
      }
      try {
        if (calls.aioError(block) !== EINPROGRESS) {
          self.#isOverdue = false;
          if (Number(calls.aioReturn(block)) === 1) {
            let line = "";
            try {
              line = limits.running > 0 ? LIMITED : lineOf(self.#captureState, calls);
            } finally {
              // A reader drops what is not JSON: the beginning of a line that was not written whole.
              if (self.#isCut) line = `\n${line}`;
              const bytes = calls.length(line);
              self.#isCut = calls.send(self.#fd, line, bytes, MSG_NOSIGNAL) !== bytes;
              calls.clearError(file);
              calls.purge(file);
              // Without a thread to wait for the next byte, the connection is of no use.
              if (calls.aioRead(block) !== 0) self.#end();
            }
          } else self.#end();
        }
      } catch {
        // The stack is full. `check` arms it again.
      }
      self.#isInside = false;
      // Looked at last: an interrupt that comes from here on is handled by itself.
    } while (self.#hasMissed);
  };

  #isArmed(): boolean {
    return this.#calls.aioError(this.#calls.block) === EINPROGRESS;
  }

  #end(): void {
    const calls = this.#calls;
    this.#isOpen = false;
    calls.set(this.#fd, false);
    calls.shutdown(this.#fd);
    // Waits for the thread: it would read from whatever has the same descriptor next. It was woken, so that takes some µs.
    const until = monotonic() + END_MS;
    while (this.#isArmed() && monotonic() < until);
    if (!this.#isArmed()) calls.close(this.#fd);
  }
}

/** If the stack was so full that `entry` could not even begin, the next call through koffi throws that error. */
function forgetFailure(calls: InterruptCalls): void {
  try {
    calls.errno();
  } catch {
    // There was such an error.
  }
}

/** Longer than a thread waits for a processor. The descriptor stays open if it does not. */
const END_MS = 1000;

const LIMITED = `${stringify({
  stack: "",
  at: 0,
  reason:
    "a script with a time limit runs (`timeout` of node:vm), and an interrupt could make it exceed that for ever",
} satisfies StackLine)}\n`;

function lineOf(captureState: () => object, calls: InterruptCalls): string {
  let state: object = {};
  try {
    state = captureState();
  } catch {
    // The stack is worth more than what it goes with.
  }
  const at = monotonic();
  const stack = currentStack(Interrupts.entry);
  const line = `${stringify({ ...state, stack, at } satisfies StackLine)}\n`;
  return Number(calls.length(line)) <= MAX_STACK_LINE_BYTES ? line : cut(stack, at, calls);
}

/** Returns a line without the state, and with as much of the stack as fits. */
function cut(stack: string, at: number, calls: InterruptCalls): string {
  for (let text = stack; ; text = text.slice(0, text.length >> 1)) {
    const line = `${stringify({ stack: text, at } satisfies StackLine)}\n`;
    if (Number(calls.length(line)) <= MAX_STACK_LINE_BYTES) return line;
  }
}
