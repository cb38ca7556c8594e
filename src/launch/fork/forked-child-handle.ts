/**
 * A forked child, seen from the parent. The fork server starts and kills the child and reports its end; a child for
 * many items has a socket too.
 */
import type { Socket } from "node:net";
import { constants } from "node:os";
import { setImmediate } from "../../system/timers.js";
import { encodeLine } from "../../wire/lines.js";
import type { ToInstance } from "../../wire/notification.js";
import type { Start, ToChild, ToHost } from "../../wire/protocol.js";
import type { Child, ChildEnd, ChildEvents } from "../launcher.js";
import { OverflowFiles } from "../overflow.js";
import type { FifoPipes } from "./fifo-pipes.js";

/** Turns of the event loop in which a connection is accepted and what came over it is read. */
const TURNS = 3;

interface Server {
  kill(signal: number): void;
}

export interface ForkedChildEvents extends ChildEvents {
  /** The child's FIFOs exist and wait to be opened. */
  onPiped(): void;
}

export class ForkedChildHandle implements Child {
  readonly overflow: OverflowFiles;
  pid: number | undefined;
  output: FifoPipes | undefined;
  readonly #isOneItem: boolean;
  readonly #isService: boolean;
  readonly #events: ForkedChildEvents;
  readonly #server: Server;
  #socket: Socket | undefined;

  constructor(start: Start, events: ForkedChildEvents, server: Server) {
    this.overflow = new OverflowFiles(start);
    this.#isOneItem = start.payload !== undefined;
    this.#isService = start.service !== undefined;
    this.#events = events;
    this.#server = server;
  }

  send(message: ToChild | ToHost | ToInstance): void {
    // A write to a child that has just ended; the fork server reports its end.
    if (this.#socket?.writable) this.#socket.write(encodeLine(message));
  }

  kill(signal: NodeJS.Signals): void {
    this.#server.kill(constants.signals[signal]);
  }

  onForked(): void {
    if (this.#isOneItem) this.#events.onReady();
  }

  onPiped(): void {
    this.#events.onPiped();
  }

  onWaiting(): void {
    this.#events.onWaiting();
  }

  /** Called when the child has connected: it now accepts items. */
  onConnected(socket: Socket, pid: number): void {
    this.#socket = socket;
    this.pid = pid;
    if (this.#events.onClosed) socket.once("close", () => this.#events.onClosed!());
    this.#events.onReady();
  }

  get isConnected(): boolean {
    return this.#socket !== undefined;
  }

  get onAnswer(): ChildEvents["onAnswer"] {
    return this.#events.onAnswer;
  }

  get onBreach(): ChildEvents["onBreach"] {
    return this.#events.onBreach;
  }

  /** The fork server may be heard of the end sooner than the child itself of why, which nothing but the channel tells of a service. */
  onEnd(end: ChildEnd): void {
    if (this.#isService && end.started) afterTurns(TURNS, () => this.#finish(end));
    else this.#finish(end);
  }

  #finish(end: ChildEnd): void {
    this.#socket?.destroy();
    this.#events.onEnd(end);
  }
}

function afterTurns(turns: number, then: () => void): void {
  if (turns === 0) then();
  else setImmediate(() => afterTurns(turns - 1, then));
}
