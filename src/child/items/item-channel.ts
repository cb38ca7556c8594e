/** The channel through which a child receives many items: a socket on the child's event loop. */
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

  /**
   * Keeps the channel from holding the event loop while an item runs: if the item awaits a promise that can never
   * settle, the child then exits like any Node process instead of waiting for ever.
   */
  busy(isBusy: boolean): void {
    if (isBusy) this.#socket.unref();
    else this.#socket.ref();
  }
}
