/**
 * The output of the forked children of one slot, through two FIFOs in the scratch directory. The fork server creates
 * them; this process opens them for reading, and until then a child blocks while opening them for writing. A child's
 * output is in the FIFO before the child ends, and is read to the last byte when its end is known, even if another
 * process holds the FIFO open.
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
   * @param mayTakeLast - whether the FIFOs may take the last descriptors
   *
   * @throws when the FIFOs cannot be opened; then none of them is open
   */
  open(mayTakeLast: boolean): void {
    try {
      for (const fifo of this.#fifos) {
        if (fifo.isOpen) continue;
        // Checked before the open, not after: the open releases the child, which then begins its item.
        holdDescriptors(FIFO_DESCRIPTORS)();
        if (!mayTakeLast && !hasDescriptors(FIFO_DESCRIPTORS)) throw TOO_FEW;
        fifo.open();
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Called when a child gets the FIFOs. */
  attach(onOutput: OnOutput): void {
    this.#onOutput = onOutput;
  }

  drain(): void {
    for (const fifo of this.#fifos) fifo.drain();
  }

  hold(isHeld: boolean): void {
    for (const fifo of this.#fifos) fifo.hold(isHeld);
  }

  /** Called when the child has ended: passes on the rest. */
  release(): void {
    for (const fifo of this.#fifos) {
      // A process that the child left behind can still write to this FIFO: the next child gets a new one.
      if (fifo.isOpen && !fifo.release()) fifo.remove();
    }
    this.#onOutput = () => {};
  }

  close(): void {
    for (const fifo of this.#fifos) if (fifo.isOpen) fifo.close();
  }
}

/** One to read the FIFO, one that keeps it from ending. */
const FIFO_DESCRIPTORS = 2;
const TOO_FEW = Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" });

class Fifo {
  readonly #file: string;
  readonly #onBytes: (bytes: Buffer) => void;
  #socket: net.Socket | undefined;
  #fd = -1;
  /** This process's own write end. While it is open, the stream does not end when a child closes its write end. */
  #keeper = -1;

  constructor(file: string, onBytes: (bytes: Buffer) => void) {
    this.#file = file;
    this.#onBytes = onBytes;
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  open(): void {
    // Without O_NONBLOCK the open would wait for a writer.
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

  /** Reads the rest; returns whether no writer is left, so that the next child can use this FIFO. */
  release(): boolean {
    closeSync(this.#keeper);
    this.#keeper = -1;
    if (!readAll(this.#fd, this.#onBytes)) return false;
    try {
      // Before the event loop can notice that there was no writer.
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
