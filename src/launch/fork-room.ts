/** The room of a container whose children are forked. Those of a pool call at a socket in its scratch directory. */
import net from "node:net";
import type { KeepItem } from "../items.js";
import type { LedgerPlace, LedgerShape } from "../ledger.js";
import { type Answer, type ChildGreeting, LineSplitter, type StartRequest } from "../protocol.js";
import { listenIn } from "../socket-path.js";
import type { ForkedChildHandle } from "./forked-child-handle.js";
import type { Child, ChildEvents, Room } from "./launcher.js";
import { type Guard, ScratchRoom } from "./scratch-room.js";

interface ForkServers extends Guard {
  start(request: StartRequest, events: ChildEvents): ForkedChildHandle;
}

export class ForkRoom implements Room {
  readonly #scratch: ScratchRoom;
  readonly #servers: ForkServers;
  readonly #children = new Map<string, ForkedChildHandle>();
  #listener: net.Server | undefined;

  constructor(root: string | undefined, shape: LedgerShape, servers: ForkServers) {
    this.#scratch = new ScratchRoom(root, shape, servers);
    this.#servers = servers;
  }

  get directory(): string {
    return this.#scratch.directory;
  }

  async open(isPool: boolean): Promise<void> {
    await this.#scratch.open();
    if (!isPool) return;
    this.#listener = net.createServer((socket) => this.#greet(socket));
    this.#listener.unref();
    await listenIn(this.directory, this.#listener);
  }

  get keepItem(): KeepItem {
    return this.#scratch.keepItem;
  }

  ledger(num: number): LedgerPlace {
    return this.#scratch.ledger(num);
  }

  start(request: StartRequest, events: ChildEvents): Child {
    const { id } = request;
    const child = this.#servers.start(request, {
      ...events,
      onEnd: (end) => {
        this.#children.delete(id);
        events.onEnd(end);
      },
    });
    this.#children.set(id, child);
    return child;
  }

  async remove(): Promise<void> {
    this.#listener?.close();
    await this.#scratch.remove();
  }

  /** The first line says which child it is. The directory is only for this user, so is the socket. */
  #greet(socket: net.Socket): void {
    const splitter = new LineSplitter();
    let child: ForkedChildHandle | undefined;
    socket.unref();
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      for (const line of splitter.push(chunk)) {
        if (child) {
          child.onAnswer(JSON.parse(line) as Answer);
          continue;
        }
        const { id, pid } = JSON.parse(line) as ChildGreeting;
        child = this.#children.get(id);
        if (child) child.onConnected(socket, pid);
        else socket.destroy();
      }
    });
  }
}
