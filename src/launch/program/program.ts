/**
 * A child that is a program in any language, seen from the parent: its start, its end, and what happens if it violates
 * the protocol of docs/protocol.md. To a pool it is a child like any other, as this process keeps its ledger.
 *
 *   items ──▶ Requests: items that wait ── {"id","payload"} ──▶ stdin   at most `fibers` at a time
 *   ledger ◀── answers, checked ◀───────── {"id","status"} ──── stdout  else: a breach, and the program is killed
 */
import { mkdirSync, rmdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { LaunchError } from "../../errors.js";
import { residentMemory } from "../../observe/stats.js";
import { monotonic } from "../../system/monotonic.js";
import { isShortage, shortageOf } from "../../system/shortage.js";
import { clearTimeout, setImmediate, setTimeout } from "../../system/timers.js";
import { Breach } from "../../wire/breach.js";
import { MarkEncoder } from "../../wire/output-mark.js";
import type { ToInstance } from "../../wire/notification.js";
import type { Start, StartRequest, ToChild, ToHost } from "../../wire/protocol.js";
import type { Child, ChildEnd, ChildEvents } from "../launcher.js";
import type { OutputPipes } from "../output-pipes.js";
import { checkProgram } from "./find-program.js";
import type { ProgramLedger } from "./program-ledger.js";
import {
  EXIT_MS,
  type ProgramCommand,
  type ProgramExit,
  ProgramProcess,
  surroundingsOf,
} from "./program-process.js";
import { type Partner, Requests } from "./requests.js";
import { ResultFiles } from "./result-files.js";

/** Reading how much memory the program holds takes some 20 us. */
const MEMORY_CHECK_MS = 5;
/** Errors that do not depend on the item: every other item would fail as well. */
const FATAL = new Set(["ENOENT", "EACCES", "ENOTDIR", "ENOEXEC", "EPERM", "E2BIG", "ELOOP"]);

export interface ProgramSettings extends ProgramCommand {
  readonly killSignal: NodeJS.Signals;
  /** In ms. */
  readonly forceKillAfterDelay: number;
  /** Whether the caller wants to know which item has written what to stderr. */
  readonly isAttributed: boolean;
}

export class Program implements Child {
  readonly overflow: ResultFiles;
  readonly #start: Start;
  readonly #settings: ProgramSettings;
  readonly #ledger: ProgramLedger;
  readonly #events: ChildEvents;
  readonly #process: ProgramProcess | undefined;
  readonly #marks: MarkEncoder;
  /** The program's own scratch directory, where it puts its result files. */
  readonly #directory: string;
  readonly #requests: Requests;
  /** Number of the item that was begun last, and of the one that stderr was last marked with. */
  #lastSeq = 0;
  #markedSeq = 0;
  #isEnding = false;
  /** The violation that the program is killed for: a wrong answer, or a stream that it closed. */
  #breach: string | undefined;
  #exitTimer: NodeJS.Timeout | undefined;
  #forceTimer: NodeJS.Timeout | undefined;
  #memoryCheckedAt = 0;

  constructor(
    { start }: StartRequest,
    settings: ProgramSettings,
    ledger: ProgramLedger,
    events: ChildEvents,
  ) {
    this.#start = start;
    this.#settings = settings;
    this.#ledger = ledger;
    this.#events = events;
    this.#marks = new MarkEncoder(start.mark!);
    this.#directory = `${start.directory}/${start.name}`;
    this.overflow = new ResultFiles(this.#directory);
    this.#requests = new Requests(this.#partner(), ledger, this.overflow, start.payload);
    try {
      mkdirSync(this.#directory, { mode: 0o700 });
    } catch (error) {
      const reason = `its scratch directory could not be made: ${(error as Error).message}`;
      setImmediate(() => events.onEnd({ started: false, reason }));
      return;
    }
    const surroundings = surroundingsOf(start.num, start.generation, this.#directory);
    this.#process = new ProgramProcess(
      { ...settings, env: { ...settings.env, ...surroundings } },
      {
        onLines: (lines, pending) => this.#onLines(lines, pending),
        onStderr: (bytes) => this.#onStderr(bytes),
        onWritten: () => this.#requests.pump(),
        onClosed: (stream) => this.#onClosed(stream),
        onExit: (exit) => this.#onExit(exit),
      },
    );
    if (this.pid !== undefined) queueMicrotask(() => this.#begin());
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get output(): OutputPipes | undefined {
    const stderr = this.#process?.stderr;
    // Finding that nothing was written takes longer than a short item.
    const drain = this.#settings.isAttributed ? () => stderr?.drain() : () => {};
    return stderr && { drain, hold: (isHeld) => stderr.hold(isHeld) };
  }

  send(message: ToChild | ToHost | ToInstance): void {
    if ("payload" in message) this.#requests.add(message.id, message.payload);
    else if (message.do === "end") this.#requests.end();
  }

  /** Answers to requests in flight still count, but no further item is begun. */
  kill(signal: NodeJS.Signals): void {
    this.#requests.close();
    this.#process?.kill(signal);
  }

  #partner(): Partner {
    return {
      isBackedUp: () => this.#process!.isBackedUp,
      write: (line) => this.#process!.write(line),
      holdsTooMuch: () => this.#holdsTooMuch(),
      onBegin: (seq) => this.#onBegin(seq),
      say: (answer) => this.#events.onAnswer(answer),
      onDone: () => this.#end(),
    };
  }

  /** There is no greeting: a request waits in the pipe until the program reads it. */
  #begin(): void {
    this.#events.onReady();
    if (this.#start.payload) this.#requests.add("", this.#start.payload);
  }

  #holdsTooMuch(): boolean {
    const { maxRss } = this.#start;
    if (maxRss === undefined) return false;
    const now = monotonic();
    if (now - this.#memoryCheckedAt < MEMORY_CHECK_MS) return false;
    this.#memoryCheckedAt = now;
    return (residentMemory(this.pid!) ?? 0) > maxRss;
  }

  #onBegin(seq: number): void {
    // What is in the pipe was written before this item began.
    if (this.#settings.isAttributed) this.#process!.stderr!.drain();
    this.#lastSeq = seq;
  }

  /** Attributes output to the item that was begun last. */
  #onStderr(bytes: Buffer): void {
    if (this.#markedSeq !== this.#lastSeq) {
      this.#markedSeq = this.#lastSeq;
      this.#events.onOutput?.("stderr", this.#marks.encode(this.#lastSeq));
    }
    this.#events.onOutput?.("stderr", bytes);
  }

  #onLines(lines: readonly Buffer[], pending: number): void {
    // What a program writes while it is being ended is ignored.
    if (this.#breach !== undefined || this.#isEnding) return;
    try {
      this.#requests.read(lines, pending);
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#break(`its program ${error.message}`);
    }
  }

  /** Ends the program: closes its stdin and sends `killSignal`, later SIGKILL. */
  #end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const { killSignal, forceKillAfterDelay } = this.#settings;
    this.#process!.endInput();
    this.kill(killSignal);
    this.#forceTimer = setTimeout(() => this.kill("SIGKILL"), forceKillAfterDelay);
    this.#forceTimer.unref();
  }

  /** Kills the program, and ignores its further answers. */
  #break(reason: string): void {
    this.#breach ??= reason;
    this.kill("SIGKILL");
    if (this.#requests.size > 0) return;
    // No item is in flight that could fail with this breach.
    process.emitWarning(`Between two items, ${reason} (num ${this.#start.num}, pid ${this.pid})`, {
      type: "ForkmapWarning",
      code: "FORKMAP_PROTOCOL",
    });
  }

  #onClosed(stream: "stdin" | "stdout"): void {
    if (this.#isEnding || this.#exitTimer) return;
    const reason = `its program has closed its ${stream}, and lives on`;
    this.#exitTimer = setTimeout(() => this.#break(reason), EXIT_MS);
    this.#exitTimer.unref();
  }

  #onExit(exit: ProgramExit): void {
    clearTimeout(this.#exitTimer);
    clearTimeout(this.#forceTimer);
    // A program that ends by itself after a number of items may leave its last request unread: that item was not begun.
    // This holds only for a program that has answered a request before.
    const { size, answers } = this.#requests;
    const isUnread = size === 1 && this.#process!.hasUnreadInput;
    if (isUnread && answers > 0 && this.#breach === undefined) this.#ledger.unbegin();
    this.#removeDirectory();
    this.#events.onEnd(this.#endOf(exit));
  }

  #endOf(exit: ProgramExit): ChildEnd {
    if (!exit.started) return this.#failure(exit.error);
    return {
      started: true,
      pid: this.pid,
      exitCode: exit.exitCode ?? undefined,
      signal: exit.signal ?? undefined,
      breach: this.#breach,
    };
  }

  #failure(cause: NodeJS.ErrnoException): ChildEnd {
    const { code = "" } = cause;
    const [program] = this.#settings.argv;
    if (isShortage(cause)) {
      const reason = `The program ${program} could not be started: ${shortageOf(cause)}`;
      return { started: false, reason, isScarce: true, cause };
    }
    try {
      // The program existed when the launcher was created, and may have been removed since.
      checkProgram(this.#settings);
    } catch (error) {
      return { started: false, reason: (error as Error).message, fatal: error as Error };
    }
    const why =
      code === "ENOENT" ? "the interpreter in its first line is not there" : cause.message;
    const reason = `The program ${program} could not be started: ${why}`;
    if (!FATAL.has(code)) return { started: false, reason };
    return { started: false, reason, fatal: new LaunchError(reason, { cause }) };
  }

  /** Usually empty. What is left in it may be much, and is removed asynchronously. */
  #removeDirectory(): void {
    try {
      rmdirSync(this.#directory);
    } catch {
      // What cannot be removed now is removed with the scratch directory of the pool.
      void rm(this.#directory, { recursive: true, force: true }).catch(() => {});
    }
  }
}
