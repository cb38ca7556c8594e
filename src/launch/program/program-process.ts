/**
 * The process of a program: started without a shell, in a process group of its own, with lines to its stdin and lines
 * from its stdout. The owner of this object interprets the lines.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { setImmediate } from "../../system/timers.js";
import { ByteLines } from "../../wire/lines.js";
import type { OutputName } from "../../wire/output-mark.js";
import { killGroup } from "../process-groups.js";
import { fdOf, SocketPipes } from "../socket-pipes.js";

/** A program that has closed its stdin or stdout is usually about to exit, and its exit code says more. */
export const EXIT_MS = 1000;

/** Returns what is added to the environment of a program. */
export function surroundingsOf(
  num: number,
  generation: number,
  directory: string,
): NodeJS.ProcessEnv {
  return {
    FORKMAP_NUM: String(num),
    FORKMAP_GENERATION: String(generation),
    FORKMAP_SCRATCH: directory,
  };
}

export interface ProgramCommand {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string | undefined;
}

export interface ProgramEvents {
  /** The program has written `lines`, and `pending` bytes of the next one. */
  onLines(lines: readonly Buffer[], pending: number): void;
  /** @param bytes - only valid during the call */
  onStderr(bytes: Buffer): void;
  /** Everything written has left this process: more can be written. */
  onWritten(): void;
  /** The program has closed a stream, as it also does when it ends. */
  onClosed(stream: "stdin" | "stdout"): void;
  /** The program has ended, and all its output has been passed on. */
  onExit(exit: ProgramExit): void;
}

export type ProgramExit =
  | { readonly started: true; readonly exitCode: number | null; readonly signal: string | null }
  | { readonly started: false; readonly error: NodeJS.ErrnoException };

export class ProgramProcess {
  readonly #child: ChildProcess | undefined;
  readonly #stdin: Socket | undefined;
  /** Descriptor of stdin. */
  readonly #fd: number | undefined;
  readonly #events: ProgramEvents;
  readonly #lines = new ByteLines();
  readonly #stdout: SocketPipes | undefined;
  readonly stderr: SocketPipes | undefined;
  #isInputClosed = false;
  #hasExited = false;

  /** Events, also that of a failed start, follow later, never from inside the constructor. */
  constructor({ argv, env, cwd }: ProgramCommand, events: ProgramEvents) {
    this.#events = events;
    const [program, ...rest] = argv;
    try {
      this.#child = spawn(program!, rest, {
        stdio: ["pipe", "pipe", "pipe"],
        detached: true,
        env,
        ...(cwd === undefined ? {} : { cwd }),
      });
    } catch (error) {
      // Node throws some of the kernel's errors, such as that of too long arguments, and reports the others by an
      // event.
      setImmediate(() => events.onExit({ started: false, error: error as Error }));
      return;
    }
    const child = this.#child;
    child.once("error", (error) => {
      if (child.pid === undefined) events.onExit({ started: false, error });
    });
    if (child.pid === undefined) return;
    child.unref();
    this.#stdin = child.stdin as Socket;
    // Else Node would close stdin before it reports the end, and `hasUnreadInput` could not be determined.
    child.stdin = null;
    this.#fd = fdOf(this.#stdin);
    this.#stdin.on("error", () => this.#inputClosed());
    this.#stdin.on("drain", () => events.onWritten());
    this.#stdin.unref();
    this.#stdout = new SocketPipes(child, ["stdout"], (_, bytes) => this.#read(bytes));
    const onStderr = (_: OutputName, bytes: Buffer) => events.onStderr(bytes);
    this.stderr = new SocketPipes(child, ["stderr"], onStderr);
    child.stdout!.once("end", () => events.onClosed("stdout"));
    child.once("exit", (exitCode, signal) => this.#exited(exitCode, signal));
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What the program has written of an unfinished line; only valid until it writes more. */
  get unfinished(): Buffer {
    return this.#lines.rest;
  }

  /** Whether earlier input still waits for the program to read it, or the program has ended. */
  get isBackedUp(): boolean {
    return this.#hasExited || this.#stdin!.writableLength > 0;
  }

  write(line: string): void {
    const stdin = this.#stdin!;
    if (this.#isInputClosed || !stdin.writable) return;
    if (this.#fd === undefined || this.isBackedUp) {
      stdin.write(line);
      return;
    }
    // Written directly if there is room, as nearly always: an item that does nothing takes a sixth less time than by a
    // stream.
    let written = 0;
    try {
      written = writeSync(this.#fd, line);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return this.#inputClosed();
    }
    if (written < Buffer.byteLength(line)) stdin.write(Buffer.from(line).subarray(written));
  }

  /** Whether the program left input unread; only known once it has exited, and only on Linux. */
  get hasUnreadInput(): boolean {
    if (this.#isInputClosed) return true;
    if (this.#fd === undefined || this.#stdin!.destroyed) return false;
    try {
      // A socket reports, once, that its other end was closed with unread input: unix_release_sock() in
      // net/unix/af_unix.c.
      readSync(this.#fd, Buffer.alloc(1));
      return false;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ECONNRESET";
    }
  }

  endInput(): void {
    this.#stdin?.end();
  }

  kill(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) killGroup(this.pid, signal);
  }

  #read(bytes: Buffer): void {
    this.#events.onLines(this.#lines.push(bytes), this.#lines.pending);
  }

  #inputClosed(): void {
    if (this.#isInputClosed) return;
    this.#isInputClosed = true;
    this.#events.onClosed("stdin");
  }

  #exited(exitCode: number | null, signal: string | null): void {
    // Set first: the last answers are read below, and may make the owner write more.
    this.#hasExited = true;
    this.#stdout!.close();
    this.stderr!.close();
    this.#events.onExit({ started: true, exitCode, signal });
    this.#stdin!.destroy();
  }
}
