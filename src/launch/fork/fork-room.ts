/** The room of a pool whose children are forked. Those of a pool call at a socket in its scratch directory. */
import net from "node:net";
import path from "node:path";
import { Breach } from "../../wire/breach.js";
import { MessageReader, readChildGreeting } from "../../wire/check-message.js";
import type { LongItems } from "../../wire/items.js";
import type { Ledger } from "../../wire/ledger.js";
import type { LedgerShape, Start, StartRequest } from "../../wire/protocol.js";
import { scratchError } from "../../wire/scratch.js";
import { listenIn } from "../../wire/socket-path.js";
import { FifoPipes } from "./fifo-pipes.js";
import type { ForkedChildEvents, ForkedChildHandle } from "./forked-child-handle.js";
import { holdDescriptors, isShortage, shortageOf } from "../../system/shortage.js";
import type { Child, ChildEnd, ChildEvents, Room } from "../launcher.js";
import { LedgerRoom } from "../ledger-room.js";
import type { Guard } from "../scratch-room.js";

interface ForkServers extends Guard {
  /** Starts the children when they can be forked no more. */
  readonly spawner: { start(request: StartRequest, events: ChildEvents): Child } | undefined;
  start(request: StartRequest, events: ForkedChildEvents): ForkedChildHandle;
}

export class ForkRoom implements Room {
  readonly #scratch: LedgerRoom;
  readonly #servers: ForkServers;
  readonly #children = new Map<string, ForkedChildHandle>();
  /** By slot. */
  readonly #outputs = new Map<number, FifoPipes>();
  #listener: net.Server | undefined;

  constructor(root: string | undefined, shape: LedgerShape, servers: ForkServers) {
    this.#scratch = new LedgerRoom(root, shape, servers);
    this.#servers = servers;
  }

  get directory(): string {
    return this.#scratch.directory;
  }

  async open(hasChannels: boolean): Promise<void> {
    await this.#scratch.open();
    if (!hasChannels) return;
    this.#listener = net.createServer((socket) => this.#greet(socket));
    this.#listener.unref();
    try {
      await listenIn(this.directory, this.#listener);
    } catch (cause) {
      await this.remove();
      throw scratchError(path.dirname(this.directory), cause);
    }
  }

  /** The socket of a child in a pool; what it prints through is looked after when it is opened. */
  get descriptors(): number {
    return this.#listener ? 1 : 0;
  }

  get items(): LongItems {
    return this.#scratch.items;
  }

  ledger(num: number): Ledger {
    return this.#scratch.ledger(num);
  }

  start(request: StartRequest, events: ChildEvents): Child {
    const { spawner } = this.#servers;
    if (spawner) return spawner.start(request, events);
    const { id, start } = request;
    const output = start.mark === undefined ? undefined : this.#pipes(start);
    // Its socket is made when it calls, and what would be the last but one now may be the last by then.
    const release = this.#listener ? holdDescriptors(1) : () => {};
    let problem: Error | undefined;
    if (events.onOutput) output?.attach(events.onOutput);
    const child = this.#servers.start(output?.isOpen ? { ...request, isPiped: true } : request, {
      ...events,
      onPiped: () => {
        try {
          if (output) this.#open(output);
        } catch (error) {
          problem = error as Error;
          // It waits to be read.
          child.kill("SIGKILL");
        }
      },
      onReady: () => {
        release();
        events.onReady();
      },
      onEnd: (end) => {
        release();
        this.#children.delete(id);
        output?.release();
        if (problem) events.onEnd(unread(problem));
        else events.onEnd(end);
      },
    });
    child.output = output;
    this.#children.set(id, child);
    return child;
  }

  /** The last descriptors are only for one that is alone: those of others may be free again soon. */
  #open(output: FifoPipes): void {
    const isAlone = this.#children.size === 1;
    try {
      output.open(isAlone);
    } catch (error) {
      if (!isAlone) throw error;
      // They are kept for the next child of their slot, and that can wait.
      for (const each of this.#outputs.values()) if (each !== output) each.close();
      output.open(isAlone);
    }
  }

  #pipes(start: Start): FifoPipes {
    let pipes = this.#outputs.get(start.num);
    if (!pipes) this.#outputs.set(start.num, (pipes = new FifoPipes(start)));
    return pipes;
  }

  async remove(): Promise<void> {
    this.#listener?.close();
    for (const output of this.#outputs.values()) output.close();
    await this.#scratch.remove();
  }

  /** The first line says which child it is. The directory is only for this user, so is the socket. */
  #greet(socket: net.Socket): void {
    let child: ForkedChildHandle | undefined;
    const reader = new MessageReader(
      (message) => {
        if (child) return child.onAnswer(message);
        const { id, pid } = readChildGreeting(message);
        const caller = this.#children.get(id);
        // One that speaks for another is not listened to.
        if (!caller || caller.isConnected) throw new Breach(`said that it is ${id}`);
        child = caller;
        child.onConnected(socket, pid);
      },
      (reason) => {
        if (child) child.onBreach(reason);
        else socket.destroy();
      },
    );
    socket.unref();
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
  }
}

function unread(cause: Error): ChildEnd {
  const reason = `The output of a child could not be read: ${shortageOf(cause) ?? cause.message}`;
  return { started: false, reason, isScarce: isShortage(cause), cause };
}
