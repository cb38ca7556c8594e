/** The channel through which a child receives many items: a socket on the child's event loop. */
import { writeSync } from "node:fs";
import type { Socket } from "node:net";
import { parse } from "../../system/json.js";
import { encodeLine, LineSplitter } from "../../wire/lines.js";

export class ItemChannel {
  readonly #socket: Socket;

  /** @param onGone - called when the parent has ended or has closed the channel */
  constructor(socket: Socket, onGone: () => void) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.once("close", onGone);
  }

  /** Passes each message to a runner or a host of threads. */
  serve<Message>(follower: { follow(message: Message): void }): void {
    const splitter = new LineSplitter();
    this.#socket.on("data", (chunk: Buffer) => {
      for (const line of splitter.push(chunk)) follower.follow(parse(line) as Message);
    });
  }

  say(message: object): void {
    this.#socket.write(encodeLine(message));
  }

  /** As `say`, but written when it returns, unless the parent does not read: the process may end right after. */
  sayNow(message: object): void {
    const { _handle: handle } = this.#socket as { _handle?: { readonly fd: number } | null };
    const bytes = Buffer.from(encodeLine(message));
    let written = 0;
    try {
      if (handle && this.#socket.writableLength === 0) written = writeSync(handle.fd, bytes);
    } catch {
      // The socket is full, or user code has closed its descriptor.
    }
    if (written < bytes.length) this.#socket.write(bytes.subarray(written));
  }

  /**
   * Keeps the channel from holding the event loop while an item runs: if the item awaits a promise that can never
   * settle, the child then exits like any Node process instead of waiting for ever.
   */
  busy(isBusy: boolean): void {
    if (isBusy) this.#socket.unref();
    else this.#socket.ref();
  }
}
