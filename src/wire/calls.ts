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
import { SupervisorError } from "../errors.js";
import { parse } from "../system/json.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { excerpt } from "./breach.js";
import { encodeLine, LineSplitter } from "./lines.js";

/** A piece of a long text is 64 Ki characters, which take six bytes each at most. */
const MAX_LINE_BYTES = 1024 * 1024;
/** Of one connection; more are refused. */
const MAX_INCOMING = 256;

export type Fields = Readonly<Record<string, unknown>>;

/** A call of the other end. */
export interface IncomingCall {
  /** `do` names the operation. */
  readonly message: Fields & { readonly do: string };
  /** Aborts when the other end has gone or waits no more. */
  readonly signal: AbortSignal;
  /** Sends a partial answer; resolves when there is room for the next. */
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
  /** The longest line that is read, in bytes. */
  readonly maxLine?: number;
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
  readonly #lines = new LineSplitter();
  readonly #pending = new Map<number, Pending>();
  readonly #incoming = new Map<number, AbortController>();
  #maxLine: number;
  #lastId: number;
  #isClosed = false;

  constructor(socket: Socket, options: CallsOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#maxLine = options.maxLine ?? MAX_LINE_BYTES;
    this.#lastId = options.side === "connected" ? -1 : 0;
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

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The other end has shown who it is: its lines may be as long as any. */
  trust(): void {
    this.#maxLine = MAX_LINE_BYTES;
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
          this.#send({ id, cancel: true });
          settle(error);
        };
        this.#pending.set(id, { what: message.do, onAnswer, settle });
        if (timeout !== undefined)
          timer = setTimeout(() => giveUp(late(message.do, timeout)), timeout);
        onAbort = () => giveUp(signal!.reason);
        signal?.addEventListener("abort", onAbort, { once: true });
        this.#send({ ...message, id });
      });
    } finally {
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
  }

  /** Ends the connection, and tells why. */
  refuse(why: string, id?: number): void {
    if (this.#isClosed || this.#socket.destroyed) return;
    this.#send({
      ...(id === undefined ? {} : { id }),
      failed: true,
      error: { name: "SupervisorError", message: why, reason: "refused" },
    });
    // What else it sends is not read; one that does not read our answer either must not keep the connection.
    this.#socket.pause();
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), 100).unref();
  }

  #read(chunk: Buffer): void {
    if (this.#socket.writableEnded) return;
    const lines = this.#lines.push(chunk);
    if (this.#lines.pending > this.#maxLine || lines.some((line) => line.length > this.#maxLine))
      return this.refuse(`Expected lines of at most ${this.#maxLine} bytes`);
    for (const line of lines) {
      this.#take(line);
      if (this.#isClosed || this.#socket.writableEnded || this.#socket.destroyed) return;
    }
  }

  #take(line: string): void {
    const message = fieldsIn(line);
    if (!message) return this.refuse(`Expected a line that is a JSON object, got ${excerpt(line)}`);
    const { id } = message;
    if (!Number.isSafeInteger(id) || (id as number) < 0) {
      // The other end has refused us, and closes.
      if (message["failed"] === true) return this.#fail(revive(message["error"]));
      return this.refuse("Expected an `id` that is a whole number");
    }
    if (this.#isOwn(id as number)) this.#takeAnswer(this.#pending.get(id as number), message);
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
    if (message["failed"] === true) return call.settle(revive(message["error"]));
    if (message["finished"] === true) return call.settle(undefined, message["answer"]);
    if (!("answer" in message) || !call.onAnswer) return;
    let taken: void | Promise<void>;
    try {
      taken = call.onAnswer(message["answer"]);
    } catch (error) {
      this.#send({ id: message["id"], cancel: true });
      return call.settle(error);
    }
    if (!taken) return;
    this.#socket.pause();
    taken.catch((error: unknown) => call.settle(error)).finally(() => this.#socket.resume());
  }

  async #answer(id: number, message: Fields & { readonly do: string }): Promise<void> {
    if (this.#incoming.has(id)) return this.refuse(`The id ${id} is that of a call under way`, id);
    if (this.#incoming.size >= MAX_INCOMING)
      return this.refuse(`More than ${MAX_INCOMING} calls at once`, id);
    const aborter = new AbortController();
    this.#incoming.set(id, aborter);
    try {
      const answer = await this.#options.onCall({
        message,
        signal: aborter.signal,
        answer: (value) => this.#sendAndWait({ id, answer: value }),
      });
      this.#send({ id, finished: true, ...(answer === undefined ? {} : { answer }) });
    } catch (error) {
      this.#send({ id, failed: true, error: recordOf(error) });
    } finally {
      this.#incoming.delete(id);
    }
  }

  #send(message: Fields): boolean {
    if (this.#isClosed || !this.#socket.writable) return true;
    return this.#socket.write(encodeLine(message));
  }

  async #sendAndWait(message: Fields): Promise<void> {
    if (this.#send(message)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#socket.off("drain", done).off("close", done);
        resolve();
      };
      this.#socket.on("drain", done).on("close", done);
    });
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

function fieldsIn(line: string): Fields | undefined {
  try {
    const value: unknown = parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined;
  } catch {
    return undefined;
  }
}

function recordOf(error: unknown): Fields {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { reason } = error as { reason?: unknown };
  return {
    name: error.name,
    message: error.message,
    ...(typeof reason === "string" ? { reason } : {}),
  };
}

function revive(record: unknown): Error {
  const { name, message, reason } = Object(record) as Record<string, unknown>;
  const text = typeof message === "string" ? message : "the other end has failed without a reason";
  if (name === "TypeError") return new TypeError(text);
  return new SupervisorError(text, reason === undefined ? "failed" : (reason as "refused"));
}

function disconnected(what: string): SupervisorError {
  return new SupervisorError(
    `${what}: the connection was closed before the answer had come`,
    "disconnected",
  );
}

function late(what: string, timeout: number): SupervisorError {
  return new SupervisorError(`${what} was not answered within ${timeout} ms`, "timeout");
}
