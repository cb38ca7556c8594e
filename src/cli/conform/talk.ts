/**
 * One process of the checked program and its output: the checks read one line (or the end) at a time, always with a
 * time limit. reply.ts interprets the lines.
 */
import { mkdirSync, rmSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import type { ProcessGroups } from "../../launch/process-groups.js";
import { MAX_ANSWER_BYTES } from "../../launch/program/answer.js";
import {
  EXIT_MS,
  type ProgramCommand,
  type ProgramExit,
  ProgramProcess,
  surroundingsOf,
} from "../../launch/program/program-process.js";
import { ResultFiles } from "../../launch/program/result-files.js";
import { excerpt } from "../../wire/breach.js";

/** A process that SIGKILL has not ended by then hangs in the kernel. */
const KILL_MS = 2000;
/** More than any program writes for a few requests. */
const MOST_LINES = 10_000;
const STDERR_BYTES = 4096;
const STDERR_LINES = 5;
const STDERR_WIDTH = 200;

export type Heard =
  | { readonly kind: "line"; readonly line: Buffer }
  /** Nothing came within the time. */
  | { readonly kind: "silence" }
  | Over;

/** Nothing more will come. */
type Over =
  | { readonly kind: "end"; readonly exit: ProgramExit }
  /** The program has closed its stdin or stdout and is still running. */
  | { readonly kind: "closed"; readonly stream: "stdin" | "stdout" }
  /** The program writes without end: too many lines, or one too long. */
  | { readonly kind: "flood"; readonly isOneLine: boolean };

export interface TalkOptions {
  readonly command: ProgramCommand;
  /** Scratch directory of this process alone; the constructor creates it. */
  readonly directory: string;
  /** 1 for the first process, 2 for the second, and so on. */
  readonly generation: number;
  readonly groups: ProcessGroups;
  readonly signal: AbortSignal;
  /** How many lines at the start that are not answers are skipped: another check has reported them. */
  readonly banner: number;
  readonly isBanner: (line: Buffer) => boolean;
  /** Called with each request and answer (`onSaid`), and with output on stderr (`onStderr`). */
  readonly onSaid: ((line: string) => void) | undefined;
  readonly onStderr: ((bytes: Buffer) => void) | undefined;
}

export class Talk {
  readonly files: ResultFiles;
  readonly #options: TalkOptions;
  readonly #process: ProgramProcess;
  readonly #lines: Buffer[] = [];
  #banner: number;
  #requests = 0;
  #exit: ProgramExit | undefined;
  #over: Over | undefined;
  #isInputEnded = false;
  #isClosed = false;
  #hasUnreadInput = false;
  #stderr = Buffer.alloc(0);
  #closedTimer: NodeJS.Timeout | undefined;
  /** Wakes the pending `#until` or `close`, if any. */
  #wake: (() => void) | undefined;

  constructor(options: TalkOptions) {
    const { command, directory, generation, groups, signal } = options;
    signal.throwIfAborted();
    this.#options = options;
    this.#banner = options.banner;
    mkdirSync(directory, { mode: 0o700 });
    this.files = new ResultFiles(directory);
    const env = { ...command.env, ...surroundingsOf(0, generation, directory) };
    this.#process = new ProgramProcess(
      { ...command, env },
      {
        onLines: (lines, pending) => this.#onLines(lines, pending),
        onStderr: (bytes) => this.#onStderr(bytes),
        onWritten: () => {},
        onClosed: (stream) => this.#onClosed(stream),
        onExit: (exit) => this.#onExit(exit),
      },
    );
    if (this.pid !== undefined) groups.watch(this.pid);
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Whether requests can be sent: the process runs, and stdin and stdout are open. */
  get isOpen(): boolean {
    return this.#over === undefined && !this.#isInputEnded && !this.#isClosed;
  }

  get exit(): ProgramExit | undefined {
    return this.#exit;
  }

  /** Whether the process ended without having read all of its input; known on Linux only. */
  get hasUnreadInput(): boolean {
    return this.#hasUnreadInput;
  }

  /** The beginning of a line whose end has not come yet. */
  get unfinished(): Buffer {
    return this.#process.unfinished;
  }

  /** The last lines of the program's stderr. */
  get stderr(): readonly string[] {
    // Output on stderr may arrive after later output on stdout.
    this.#process.stderr?.drain();
    const text = stripVTControlCharacters(this.#stderr.toString());
    const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
    return lines.slice(-STDERR_LINES).map((line) => line.slice(0, STDERR_WIDTH));
  }

  /**
   * Sends a request.
   *
   * @param fields - all but the id, as JSON
   * @returns its id
   */
  request(fields: string): string {
    this.#requests += 1;
    const id = String(this.#requests);
    const line = `{"id":"${id}",${fields}}`;
    this.#options.onSaid?.(`-> ${line}`);
    this.#process.write(`${line}\n`);
    return id;
  }

  endInput(): void {
    this.#isInputEnded = true;
    this.#process.endInput();
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Returns the next line, the end of the conversation, or silence after `ms`. */
  async hear(ms: number): Promise<Heard> {
    await this.#until(() => this.#lines.length > 0 || this.#over !== undefined, ms);
    const line = this.#lines.shift();
    return line ? { kind: "line", line } : (this.#over ?? { kind: "silence" });
  }

  /** Returns how the process ended, or `undefined` if it still runs after `ms`. */
  async ended(ms: number): Promise<ProgramExit | undefined> {
    await this.#until(() => this.#exit !== undefined, ms);
    return this.#exit;
  }

  /** Ends the process and all that it has started. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#closedTimer);
    const { pid } = this;
    if (this.#exit === undefined) {
      this.kill("SIGKILL");
      const isGone = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const timer = setTimeout(() => this.#wake?.(), KILL_MS);
      await isGone;
      clearTimeout(timer);
    }
    if (pid !== undefined) this.#options.groups.forget(pid);
    this.files.close();
    rmSync(this.#options.directory, { recursive: true, force: true });
  }

  /** Waits until `isSo()` or until `ms` have passed. @throws the signal's reason when it is aborted */
  async #until(isSo: () => boolean, ms: number): Promise<void> {
    const { signal } = this.#options;
    const deadline = performance.now() + ms;
    for (;;) {
      signal.throwIfAborted();
      const left = deadline - performance.now();
      if (isSo() || left <= 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => wake(), left);
        const wake = () => {
          clearTimeout(timer);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        signal.addEventListener("abort", wake);
        this.#wake = wake;
      });
    }
  }

  #onLines(lines: readonly Buffer[], pending: number): void {
    for (const line of lines.slice(0, MOST_LINES)) this.#take(line);
    const isOneLine = pending > MAX_ANSWER_BYTES;
    if (isOneLine || this.#lines.length > MOST_LINES) this.#flooded(isOneLine);
    // Also wakes for an incomplete line: it may be unrequested output, or never end.
    this.#wake?.();
  }

  #take(line: Buffer): void {
    if (this.#over?.kind === "flood") return;
    this.#options.onSaid?.(`<- ${excerpt(line)}`);
    const isBanner = this.#banner > 0 && this.#options.isBanner(line);
    this.#banner = isBanner ? this.#banner - 1 : 0;
    // A copy: the line is part of a chunk whose memory may be reused.
    if (!isBanner) this.#lines.push(Buffer.from(line));
  }

  #flooded(isOneLine: boolean): void {
    this.#over ??= { kind: "flood", isOneLine };
    this.kill("SIGKILL");
  }

  #onStderr(bytes: Buffer): void {
    this.#options.onStderr?.(bytes);
    this.#stderr = Buffer.concat([this.#stderr, bytes]).subarray(-STDERR_BYTES);
  }

  #onClosed(stream: "stdin" | "stdout"): void {
    if (this.#isInputEnded || this.#exit || this.#closedTimer) return;
    this.#closedTimer = setTimeout(() => {
      this.#over ??= { kind: "closed", stream };
      this.#wake?.();
    }, EXIT_MS);
  }

  #onExit(exit: ProgramExit): void {
    clearTimeout(this.#closedTimer);
    this.#exit = exit;
    this.#hasUnreadInput = exit.started && this.#process.hasUnreadInput;
    this.#over ??= { kind: "end", exit };
    this.#wake?.();
  }
}
