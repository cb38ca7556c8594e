/** The output of a child that Node spawned, read from the pipes that Node created for the child. */
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import type { OutputName } from "../wire/output-mark.js";
import { type OnOutput, type OutputPipes, readAll } from "./output-pipes.js";

export class SocketPipes implements OutputPipes {
  readonly #child: ChildProcess;
  readonly #names: readonly OutputName[];
  readonly #onOutput: OnOutput;

  constructor(child: ChildProcess, names: readonly OutputName[], onOutput: OnOutput) {
    this.#child = child;
    this.#names = names;
    this.#onOutput = onOutput;
    for (const name of names) {
      const socket = child[name] as Socket | null;
      // The child could not be started.
      if (!socket) continue;
      socket.on("data", (bytes: Buffer) => onOutput(name, bytes));
      socket.on("error", () => {});
      // The program waits for the child, not for processes that the child left behind.
      socket.unref();
    }
  }

  drain(): void {
    for (const name of this.#names) {
      const socket = this.#child[name] as Socket | null;
      if (!socket) continue;
      passHeld(socket);
      const fd = fdOf(socket);
      if (fd !== undefined) readAll(fd, (bytes) => this.#onOutput(name, bytes));
    }
  }

  hold(isHeld: boolean): void {
    for (const name of this.#names) {
      if (isHeld) this.#child[name]?.pause();
      else this.#child[name]?.resume();
    }
  }

  /** Called when the child has ended: passes on the rest. */
  close(): void {
    this.drain();
    for (const name of this.#names) this.#child[name]?.destroy();
  }
}

/** Passes what Node read before the stream was paused to the listener of "data": `read` emits the event, too. */
function passHeld(socket: Socket): void {
  while (socket.readableLength > 0 && socket.read() !== null);
}

/**
 * Returns the descriptor of a stream, to read it at once: Node may read the stream only after it has reported the
 * child's end. Undefined on Windows, where an item may miss late output.
 */
export function fdOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}
