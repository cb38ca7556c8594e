/**
 * The supervisor's end of the connection by which a child is interrupted (child/supervised/interrupts.ts): asks for the stack of
 * its main thread, whatever that does. If there is no answer, the error says what the kernel knows of the child's threads.
 */
import type { Socket } from "node:net";
import { parse } from "../system/json.js";
import { monotonic } from "../system/monotonic.js";
import { LineSplitter } from "../wire/lines.js";
import { MAX_STACK_LINE_BYTES, type StackLine, type ThreadDump } from "../wire/thread-dump.js";
import {
  inWords,
  kernelThread,
  type KernelThread,
  kernelThreads,
  waitsForEvents,
} from "./kernel-threads.js";

export interface InterruptedStack {
  /** A line for each frame, from the innermost on. */
  readonly stack: string;
  /** How long after the question it was taken, in ms: if that is long, the thread was in a native call or waited till then. */
  readonly after: number;
  /** What else the child tells. */
  readonly state: Readonly<Record<string, unknown>>;
}

/** There was no answer. */
export class StackUnavailable extends Error {
  static {
    this.prototype.name = "StackUnavailable";
  }

  /** The child's threads as the kernel sees them, the main thread first. */
  readonly threads: readonly KernelThread[];
  /** Its main thread waits for events: there is no stack, unless it is in `spawnSync`. */
  readonly isIdle: boolean;

  constructor(message: string, threads: readonly KernelThread[], isIdle = false) {
    super(message);
    this.threads = threads;
    this.isIdle = isIdle;
  }
}

interface Question {
  readonly askedAt: number;
  /** An earlier question was not answered yet: what comes may be its answer. */
  readonly isSecond: boolean;
  readonly resolve: (line: StackLine) => void;
  readonly reject: (error: StackUnavailable) => void;
}

/** A thread that waits for events twice in a row, so long after the question, does not run JavaScript. */
const LOOK_MS = 100;
const LOOKS_OF_IDLE = 2;
/** Two processes compute the monotonic clock each for themselves. */
const CLOCK_ERROR_MS = 5;
const BYTE = "?";

export class StackRequest {
  readonly #socket: Socket;
  readonly #pid: number;
  readonly #lines = new LineSplitter();
  /** A byte was sent, and its answer has not come. */
  #isOwed = false;
  #question: Question | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #isOpen = true;

  /**
   * @param socket - from which the hello line has been read
   * @param pid - of the child
   */
  constructor(socket: Socket, pid: number) {
    this.#socket = socket;
    this.#pid = pid;
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    socket.on("error", () => this.close());
    socket.on("close", () => this.close());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Resolves with the stack of the child's main thread. One question is asked at a time; others wait.
   *
   * @param timeout - in ms, from when it is asked
   * @throws {@link StackUnavailable}
   */
  ask(timeout: number): Promise<InterruptedStack> {
    const answer = this.#last.then(() => this.#ask(timeout));
    this.#last = answer.catch(() => {});
    return answer;
  }

  /**
   * As `ask`, for a child that does not answer by itself: also says why the stacks of its other threads cannot be had.
   *
   * @throws {@link StackUnavailable}
   */
  async dumpBlocked(timeout: number): Promise<ThreadDump> {
    const { stack } = await this.ask(timeout);
    return {
      threads: [{ id: 0, name: "main", state: "blocked", stack }],
      reason:
        "the stacks of worker threads cannot be had: they are asked by the main thread, which is blocked",
    };
  }

  /** Harmless twice. The child goes on without it. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#socket.destroy();
    this.#fail("the child has ended, or has closed the connection by which it is interrupted");
  }

  async #ask(timeout: number): Promise<InterruptedStack> {
    if (!this.#isOpen)
      throw new StackUnavailable("the child cannot be interrupted any more", this.#threads());
    const askedAt = monotonic();
    let looks = 0;
    const timer = setTimeout(() => this.#giveUp(timeout), timeout);
    const look = setInterval(() => {
      const main = kernelThread(this.#pid, this.#pid);
      looks = main && waitsForEvents(main) ? looks + 1 : 0;
      if (looks === LOOKS_OF_IDLE)
        this.#fail(
          "the thread waits for events, so it has no stack of JavaScript, unless it is in spawnSync or execSync",
          true,
        );
    }, LOOK_MS);
    try {
      const { stack, at, ...state } = await new Promise<StackLine>((resolve, reject) => {
        this.#question = { askedAt, isSecond: this.#isOwed, resolve, reject };
        this.#send();
      });
      return { stack, after: Math.max(0, at - askedAt), state };
    } finally {
      this.#question = undefined;
      clearTimeout(timer);
      clearInterval(look);
    }
  }

  /** The answer to a byte that was sent before would do as well, unless it has come in part: the child does not write the rest. */
  #send(): void {
    if (this.#isOwed && this.#lines.pending === 0) return;
    this.#isOwed = true;
    this.#socket.write(BYTE);
  }

  #read(bytes: Buffer): void {
    for (const text of this.#lines.push(bytes)) {
      const line = stackLine(text);
      if (line) this.#answer(line);
    }
    // It is not what this package has written.
    if (this.#lines.pending > MAX_STACK_LINE_BYTES) this.close();
  }

  #answer(line: StackLine): void {
    this.#isOwed = false;
    const question = this.#question;
    if (!question) return;
    if (line.reason !== undefined) {
      this.#fail(line.reason);
      return;
    }
    const isLate = question.isSecond && line.at < question.askedAt - CLOCK_ERROR_MS;
    if (isLate) this.#send();
    else question.resolve(line);
  }

  #giveUp(timeout: number): void {
    const [main] = this.#threads();
    const seen = main ? `: ${inWords(main)}` : "";
    this.#fail(
      `the thread is in a native call, or waits in the kernel: its stack could not be had within ${timeout} ms${seen}`,
    );
  }

  #fail(message: string, isIdle = false): void {
    this.#question?.reject(new StackUnavailable(message, this.#threads(), isIdle));
  }

  #threads(): KernelThread[] {
    return kernelThreads(this.#pid);
  }
}

/** Returns `undefined` for what is not such a line, such as the beginning of one that the child could not write whole. */
function stackLine(text: string): StackLine | undefined {
  try {
    const line = parse(text) as Partial<StackLine> | null;
    return typeof line?.stack === "string" && typeof line.at === "number"
      ? (line as StackLine)
      : undefined;
  } catch {
    return undefined;
  }
}
