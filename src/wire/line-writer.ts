/** Sends lines of JSON through a socket, and waits for the other end to read them: what it does not read takes no more memory than one line and a socket's buffer. */
import type { Socket } from "node:net";
import { SupervisorError } from "../errors.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { encodeLine } from "./lines.js";

/** A piece of a long text is 64 Ki characters, which take six bytes each at most. */
export const MAX_LINE_BYTES = 1024 * 1024;

export class LineWriter {
  readonly #socket: Socket;
  readonly #unreadFor: number | undefined;
  /** Shared by all who wait: Node warns of a listener for each. */
  #drained: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  /** @param unreadFor - in ms: the connection is closed if somebody waits and the other end reads nothing for so long */
  constructor(socket: Socket, unreadFor: number | undefined) {
    this.#socket = socket;
    this.#unreadFor = unreadFor;
    const wake = () => this.#wake?.();
    socket.on("drain", wake).once("close", wake);
  }

  /** @throws SupervisorError when the line would be too long for the other end, which would close the connection */
  send(message: object): void {
    if (!this.#socket.writable) return;
    const line = encodeLine(message);
    const bytes = Buffer.byteLength(line);
    if (bytes > MAX_LINE_BYTES)
      throw new SupervisorError(
        `Expected a message of at most ${MAX_LINE_BYTES} bytes, got ${bytes}`,
      );
    this.#socket.write(line);
  }

  /** Sends when there is room. Of many who wait, each does when what the one before has sent was read. */
  async sendInTurn(message: object): Promise<void> {
    while (this.#isFull) await this.#drain();
    this.send(message);
  }

  /** Resolves once there is room for the next. */
  async sendAndWait(message: object): Promise<void> {
    await this.sendInTurn(message);
    while (this.#isFull) await this.#drain();
  }

  get #isFull(): boolean {
    return this.#socket.writable && this.#socket.writableNeedDrain;
  }

  /** Resolves once what was sent has been read, or the connection has closed. */
  #drain(): Promise<void> {
    this.#drained ??= new Promise((resolve) => {
      const timer =
        this.#unreadFor === undefined
          ? undefined
          : setTimeout(() => this.#socket.destroy(), this.#unreadFor).unref();
      this.#wake = () => {
        clearTimeout(timer);
        this.#drained = undefined;
        resolve();
      };
    });
    return this.#drained;
  }
}
