/**
 * Calls between two processes over one socket, in lines of JSON. Both ends may call; the ids of the end that has connected are odd, those of the
 * end that has accepted are even.
 *
 *   -> {"id":1,"do":"status",...}
 *   <- {"id":1,"answer":...}                      any number of partial answers
 *   <- {"id":1,"finished":true,"answer":...}      or {"id":1,"failed":true,"error":{"name","message"}}
 *   -> {"id":1,"cancel":true}                     nobody waits for the answer any more
 */
import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { excerpt } from "./breach.js";
import { disconnected, late, recordOf, reviveCallError } from "./call-errors.js";
import { LineWriter, MAX_LINE_BYTES } from "./line-writer.js";
import { LineSplitter, objectIn } from "./lines.js";

/** Of one connection; more are refused. */
const MAX_INCOMING = 256;
/** As long as a client waits for an answer unless told otherwise. */
const UNREAD_MS = 60_000;
/** What was sent before a connection is closed should arrive; one that does not read must not keep it. */
const CLOSE_MS = 1000;
const REFUSE_MS = 100;

export type Fields = Readonly<Record<string, unknown>>;

/** A call of the other end. */
export interface IncomingCall {
  /** `do` names the operation. */
  readonly message: Fields & { readonly do: string };
  /** Aborts when the other end has gone or waits no more. */
  readonly signal: AbortSignal;
  /** Sends a partial answer; resolves when there is room for the next, and rejects when nobody waits for it. */
  answer(value: unknown): Promise<void>;
}

export interface CallOptions {
  /** In ms. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called for each partial answer; while a promise of it is pending, nothing more is read from this connection. */
  readonly onAnswer?: ((value: unknown) => void | Promise<void>) | undefined;
}

export interface CallsOptions {
  readonly side: "connected" | "accepted";
  /** Answers a call: what it resolves with is the last answer. */
  onCall(call: IncomingCall): Promise<unknown>;
  onClose?(): void;
  /** The longest line that is read before `trust`, in bytes; and then nothing but a call is. */
  readonly maxLine?: number;
  /** In ms: the connection is closed if the other end leaves partial answers unread for so long. @defaultValue 60_000 for what accepts */
  readonly unreadFor?: number;
}

interface Pending {
  readonly what: string;
  readonly onAnswer: CallOptions["onAnswer"];
  settle(error: unknown, value?: unknown): void;
}

export class Calls {
  /** Resolves once the connection has ended. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #options: CallsOptions;
  readonly #writer: LineWriter;
  readonly #lines = new LineSplitter();
  readonly #pending = new Map<number, Pending>();
  readonly #incoming = new Map<number, AbortController>();
  /** Lines that have come and are not taken yet, the last one first. */
  readonly #waiting: string[] = [];
  /** A partial answer is being taken, and what came after it waits. */
  #isHeld = false;
  #isStranger: boolean;
  #lastId: number;
  #isClosed = false;

  constructor(socket: Socket, options: CallsOptions) {
    this.#socket = socket;
    this.#options = options;
    const { side, unreadFor = side === "accepted" ? UNREAD_MS : undefined } = options;
    this.#writer = new LineWriter(socket, unreadFor);
    this.#isStranger = options.maxLine !== undefined;
    this.#lastId = side === "connected" ? -1 : 0;
    // It closes right after.
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#onClose();
        resolve();
      });
    });
  }

  /** Whether what the other end has sent waits until a partial answer of it was taken. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** The other end has shown who it is: its lines may be as long as any. */
  trust(): void {
    this.#isStranger = false;
  }

  /**
   * Calls the other end.
   *
   * @returns the last answer
   * @throws SupervisorError when the other end answers with an error, does not answer in time, or goes away
   */
  async call(
    message: Fields & { readonly do: string },
    options: CallOptions = {},
  ): Promise<unknown> {
    const { timeout, signal, onAnswer } = options;
    signal?.throwIfAborted();
    if (this.#isClosed) throw disconnected(message.do);
    const id = (this.#lastId += 2);
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise((resolve, reject) => {
        const settle = (error: unknown, value?: unknown) => {
          this.#pending.delete(id);
          if (error === undefined) resolve(value);
          else reject(error);
        };
        const giveUp = (error: unknown) => {
          this.#writer.send({ id, cancel: true });
          settle(error);
        };
        this.#pending.set(id, { what: message.do, onAnswer, settle });
        if (timeout !== undefined)
          timer = setTimeout(() => giveUp(late(message.do, timeout)), timeout);
        onAbort = () => giveUp(signal!.reason);
        signal?.addEventListener("abort", onAbort, { once: true });
        this.#writer.send({ ...message, id });
      });
    } finally {
      this.#pending.delete(id);
      clearTimeout(timer);
      if (onAbort) signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Gives up the connection to who uses its socket otherwise from now on. */
  detach(): Socket {
    this.#isClosed = true;
    this.#socket.removeAllListeners("data");
    this.#options.onClose?.();
    return this.#socket;
  }

  /** Ends the connection, after what was sent. */
  close(): void {
    this.#socket.destroySoon();
    this.#destroyAfter(CLOSE_MS);
  }

  /** Ends the connection, and tells why. */
  refuse(why: string, id?: number): void {
    if (this.#isClosed || this.#socket.destroyed) return;
    this.#writer.send({
      ...(id === undefined ? {} : { id }),
      failed: true,
      error: { name: "SupervisorError", message: why, reason: "refused" },
    });
    // What else it sends is not read; one that does not read our answer either must not keep the connection.
    this.#socket.pause();
    this.#socket.end();
    this.#destroyAfter(REFUSE_MS);
  }

  #destroyAfter(ms: number): void {
    setTimeout(() => this.#socket.destroy(), ms).unref();
  }

  get #maxLine(): number {
    return this.#isStranger ? this.#options.maxLine! : MAX_LINE_BYTES;
  }

  #read(chunk: Buffer): void {
    if (this.#socket.writableEnded) return;
    this.#waiting.unshift(...this.#lines.push(chunk).toReversed());
    this.#takeWaiting();
  }

  get #isHeard(): boolean {
    return !this.#socket.writableEnded && !this.#socket.destroyed;
  }

  #takeWaiting(): void {
    while (!this.#isHeld && !this.#isClosed && this.#isHeard) {
      const line = this.#waiting.pop();
      if ((line?.length ?? this.#lines.pending) > this.#maxLine)
        return this.refuse(`Expected lines of at most ${this.#maxLine} bytes`);
      if (line === undefined) return;
      this.#take(line);
    }
  }

  #take(line: string): void {
    const message = objectIn(line);
    if (!message) return this.refuse(`Expected a line that is a JSON object, got ${excerpt(line)}`);
    const { id } = message;
    if (!Number.isSafeInteger(id) || (id as number) < 0) {
      // The other end has refused us, and closes.
      if (message["failed"] === true) return this.#fail(reviveCallError(message["error"]));
      return this.refuse("Expected an `id` that is a whole number");
    }
    if (this.#isStranger && typeof message["do"] !== "string")
      this.refuse("Expected a call with a token first", id as number);
    else if (this.#isOwn(id as number)) this.#takeAnswer(this.#pending.get(id as number), message);
    else if (typeof message["do"] === "string") void this.#answer(id as number, message as never);
    else if (message["cancel"] === true) this.#incoming.get(id as number)?.abort();
    else this.refuse("Expected `do` to name an operation", id as number);
  }

  #isOwn(id: number): boolean {
    return (id % 2 === 1) === (this.#options.side === "connected");
  }

  /** @param call - undefined if nobody waits for it any more */
  #takeAnswer(call: Pending | undefined, message: Fields): void {
    if (!call) return;
    if (message["failed"] === true) return call.settle(reviveCallError(message["error"]));
    if (message["finished"] === true) return call.settle(undefined, message["answer"]);
    if (!("answer" in message) || !call.onAnswer) return;
    const fail = (error: unknown) => {
      this.#writer.send({ id: message["id"], cancel: true });
      call.settle(error);
    };
    try {
      const taken = call.onAnswer(message["answer"]);
      if (taken) void this.#hold(taken.catch(fail));
    } catch (error) {
      fail(error);
    }
  }

  /** Neither reads nor takes what it has read, until the promise has resolved. */
  async #hold(taken: Promise<void>): Promise<void> {
    this.#isHeld = true;
    this.#socket.pause();
    await taken;
    this.#isHeld = false;
    this.#takeWaiting();
    if (!this.#isHeld) this.#socket.resume();
  }

  async #answer(id: number, message: Fields & { readonly do: string }): Promise<void> {
    if (this.#incoming.has(id)) return this.refuse(`The id ${id} is that of a call under way`, id);
    if (this.#incoming.size >= MAX_INCOMING)
      return this.refuse(`More than ${MAX_INCOMING} calls at once`, id);
    const aborter = new AbortController();
    this.#incoming.set(id, aborter);
    const last = await this.#lastAnswer(id, message, aborter.signal);
    // The call is over once there is room for its answer: who does not read answers has no more of them than calls at once.
    if (this.#isClosed) return;
    await this.#writer
      .sendInTurn(last)
      .catch((error: unknown) => this.#writer.send({ id, failed: true, error: recordOf(error) }));
    this.#incoming.delete(id);
  }

  async #lastAnswer(
    id: number,
    message: Fields & { readonly do: string },
    signal: AbortSignal,
  ): Promise<Fields> {
    try {
      const answer = await this.#options.onCall({
        message,
        signal,
        answer: async (value) => {
          signal.throwIfAborted();
          await this.#writer.sendAndWait({ id, answer: value });
        },
      });
      return { id, finished: true, ...(answer === undefined ? {} : { answer }) };
    } catch (error) {
      return { id, failed: true, error: recordOf(error) };
    }
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const aborter of this.#incoming.values()) aborter.abort();
    for (const { what, settle } of this.#pending.values()) settle(disconnected(what));
    this.#options.onClose?.();
  }

  #fail(error: Error): void {
    for (const { settle } of this.#pending.values()) settle(error);
  }
}
