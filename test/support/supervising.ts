/** A supervisor's end of the connections by which its children are interrupted. */
import { writeFileSync } from "node:fs";
import net from "node:net";
import { afterEach } from "vitest";
import { listenIn } from "../../src/wire/socket-path.js";
import { StackRequest } from "../../src/supervisor/stack-request.js";

export interface Interruptible {
  readonly pid: number;
  readonly stacks: StackRequest;
  readonly socket: net.Socket;
}

const open = new Set<Supervising>();

export class Supervising {
  readonly directory: string;
  readonly #server: net.Server;
  readonly #children: Interruptible[] = [];
  readonly #waiting: ((child: Interruptible) => void)[] = [];
  #onChild: ((child: Interruptible) => void) | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.#server = net.createServer((socket) => this.#accept(socket));
  }

  static async in(directory: string): Promise<Supervising> {
    const supervising = new Supervising(directory);
    open.add(supervising);
    await listenIn(directory, supervising.#server);
    return supervising;
  }

  /** The next child that has introduced itself. */
  async child(): Promise<Interruptible> {
    return this.#children.shift() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
  }

  /** Each child from now on. */
  each(then: (child: Interruptible) => void): void {
    this.#onChild = then;
  }

  /** Lets the children end what they do. */
  done(): void {
    writeFileSync(`${this.directory}/done`, "");
  }

  close(): void {
    this.#server.close();
  }

  #accept(socket: net.Socket): void {
    let text = "";
    const onData = (bytes: Buffer): void => {
      text += bytes.toString();
      if (!text.endsWith("\n")) return;
      socket.off("data", onData);
      const pid = Number(/^hello (\d+)\n$/.exec(text)?.[1]);
      const child = { pid, socket, stacks: new StackRequest(socket, pid) };
      if (this.#onChild) this.#onChild(child);
      else if (this.#waiting.length > 0) this.#waiting.shift()!(child);
      else this.#children.push(child);
    };
    socket.on("data", onData);
  }
}

afterEach(() => {
  for (const supervising of open) supervising.close();
  open.clear();
});
