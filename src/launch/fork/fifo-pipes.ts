/**
 * The output of the forked children of one slot, through two FIFOs in the scratch directory. The fork server makes them;
 * this process opens them for reading, and only then does a child get past opening them for writing. What a child has
 * written is in the FIFO before it ends, and is read to the last byte when its end is known, whoever else may hold it.
 */
import { closeSync, constants, openSync, rmSync } from "node:fs";
import net from "node:net";
import { hasDescriptors, holdDescriptors } from "../../system/shortage.js";
import { outputFile } from "../../wire/child-files.js";
import type { Start } from "../../wire/protocol.js";
import { type OnOutput, type OutputPipes, READ_BUFFER, readAll } from "../output-pipes.js";

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

export class FifoPipes implements OutputPipes {
  readonly #fifos: readonly Fifo[];
  #onOutput: OnOutput = () => {};

  constructor(start: Start) {
    this.#fifos = (["stdout", "stderr"] as const).map(
      (name) => new Fifo(outputFile(start, name), (bytes) => this.#onOutput(name, bytes)),
    );
  }

  get isOpen(): boolean {
    return this.#fifos.every((fifo) => fifo.isOpen);
  }

  /**
   * @param mayTakeLast - whether the last descriptors may be used for it
   *
   * @throws when they cannot be opened; then none of them is open
   */
  open(mayTakeLast: boolean): void {
    try {
      for (const fifo of this.#fifos) {
        if (fifo.isOpen) continue;
        // Not after it was opened: the child is waiting for that, and would begin its item.
        holdDescriptors(FIFO_DESCRIPTORS)();
        if (!mayTakeLast && !hasDescriptors(FIFO_DESCRIPTORS)) throw TOO_FEW;
        fifo.open();
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** From now on a child has them. */
  attach(onOutput: OnOutput): void {
    this.#onOutput = onOutput;
  }

  drain(): void {
    for (const fifo of this.#fifos) fifo.drain();
  }

  hold(isHeld: boolean): void {
    for (const fifo of this.#fifos) fifo.hold(isHeld);
  }

  /** The child has ended: hands on the rest. */
  release(): void {
    for (const fifo of this.#fifos) {
      // What the child has left behind still writes to it: the next child gets another one.
      if (fifo.isOpen && !fifo.release()) fifo.remove();
    }
    this.#onOutput = () => {};
  }

  close(): void {
    for (const fifo of this.#fifos) if (fifo.isOpen) fifo.close();
  }
}

/** One to read it, one that keeps it from ending. */
const FIFO_DESCRIPTORS = 2;
const TOO_FEW = Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" });

class Fifo {
  readonly #file: string;
  readonly #onBytes: (bytes: Buffer) => void;
  #socket: net.Socket | undefined;
  #fd = -1;
  /** Our own end for writing. As long as it is open the other does not end when a child closes its own. */
  #keeper = -1;

  constructor(file: string, onBytes: (bytes: Buffer) => void) {
    this.#file = file;
    this.#onBytes = onBytes;
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  open(): void {
    // Without O_NONBLOCK it would wait for a writer.
    this.#fd = openSync(this.#file, O_RDONLY | O_NONBLOCK);
    try {
      this.#keeper = openSync(this.#file, O_WRONLY | O_NONBLOCK);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
    this.#socket = new net.Socket({
      fd: this.#fd,
      readable: true,
      writable: false,
      onread: {
        buffer: READ_BUFFER,
        callback: (count: number, bytes: Uint8Array) => this.#onRead(count, bytes),
      },
    } as net.SocketConstructorOpts);
    this.#socket.unref();
    this.#socket.on("error", () => {});
  }

  drain(): void {
    if (this.#socket) readAll(this.#fd, this.#onBytes);
  }

  hold(isHeld: boolean): void {
    if (isHeld) this.#socket?.pause();
    else this.#socket?.resume();
  }

  /** Reads the rest; whether nobody writes to it any more. */
  release(): boolean {
    closeSync(this.#keeper);
    this.#keeper = -1;
    if (!readAll(this.#fd, this.#onBytes)) return false;
    try {
      // Before the event loop can see that there was no writer.
      this.#keeper = openSync(this.#file, O_WRONLY | O_NONBLOCK);
    } catch {
      return false;
    }
    this.hold(false);
    return true;
  }

  remove(): void {
    rmSync(this.#file, { force: true });
    this.close();
  }

  close(): void {
    if (this.#keeper !== -1) closeSync(this.#keeper);
    this.#keeper = -1;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #onRead(count: number, bytes: Uint8Array): boolean {
    this.#onBytes(bytes.subarray(0, count) as Buffer);
    return true;
  }
}
