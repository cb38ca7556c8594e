/** The channel through which a child for many items gets them: a socket of its own, on the child's event loop. */
import type { Socket } from "node:net";
import { encodeLine, LineSplitter } from "../../wire/lines.js";
import { parse } from "../../system/json.js";

export class ItemChannel {
  readonly #socket: Socket;

  /** @param onGone - called when the parent is, or wants nothing more of this child */
  constructor(socket: Socket, onGone: () => void) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.once("close", onGone);
  }

  /** Gives a runner, or a host of threads, what comes. */
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
   * While an item runs the channel does not keep the loop alive: the child of one that waits for what nothing is left to
   * settle then ends, as any Node process, instead of waiting with it.
   */
  busy(isBusy: boolean): void {
    if (isBusy) this.#socket.unref();
    else this.#socket.ref();
  }
}
