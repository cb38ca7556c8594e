/** The room of a pool whose children are forked. Those with channels connect to a socket in the scratch directory. */
import net from "node:net";
import path from "node:path";
import { holdDescriptors, isShortage, shortageOf } from "../../system/shortage.js";
import { Breach } from "../../wire/breach.js";
import { MessageReader, readChildGreeting } from "../../wire/check-message.js";
import type { ItemStore } from "../../wire/items.js";
import type { Ledger } from "../../wire/ledger.js";
import type { LedgerShape, Start, StartRequest } from "../../wire/protocol.js";
import { scratchError } from "../../wire/scratch.js";
import { listenIn } from "../../wire/socket-path.js";
import type { Child, ChildEnd, ChildEvents, Room } from "../launcher.js";
import { LedgerRoom } from "../ledger-room.js";
import type { Guard } from "../scratch-room.js";
import { FifoPipes } from "./fifo-pipes.js";
import type { ForkedChildEvents, ForkedChildHandle } from "./forked-child-handle.js";

interface ForkServers extends Guard {
  /** Starts the children once they can no longer be forked. */
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

  /** @param readsOutput - whether the fork server makes FIFOs in the scratch directory */
  async open(hasChannels: boolean, readsOutput: boolean): Promise<void> {
    await this.#scratch.open(hasChannels || readsOutput);
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

  /** The socket of a child with a channel; `FifoPipes` checks the descriptors for output when it opens the FIFOs. */
  get descriptors(): number {
    return this.#listener ? 1 : 0;
  }

  makeDirectory(): void {
    this.#scratch.makeDirectory();
  }

  get items(): ItemStore {
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
    // The child's socket takes a descriptor only once the child connects. One is held for it until then, as others may
    // take the last ones meanwhile.
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
          // The child blocks until its FIFOs are opened for reading.
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

  /** Only a child that runs alone may take the last descriptors: those of other children may be free again soon. */
  #open(output: FifoPipes): void {
    const isAlone = this.#children.size === 1;
    try {
      output.open(isAlone);
    } catch (error) {
      if (!isAlone) throw error;
      // The FIFOs of other slots are only kept open for their next child, which can wait.
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

  /** The first line names the child. Only this user has access to the directory, and so to the socket. */
  #greet(socket: net.Socket): void {
    let child: ForkedChildHandle | undefined;
    const reader = new MessageReader(
      (message) => {
        if (child) return child.onAnswer(message);
        const { id, pid } = readChildGreeting(message);
        const caller = this.#children.get(id);
        // A process that claims to be another child is rejected.
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
