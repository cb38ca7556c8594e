/** Whether the server is there, as one connection shows it; tells of each change once, and of errors that are no such change. */
import type { Redis } from "ioredis";
import type { ServePlan } from "../../pool/engine.js";
import { monotonic } from "../../system/monotonic.js";
import { settledWithin } from "./settled-within.js";

/** The same error is told once in this time, in ms: many connections and retries have it. */
const SAME_ERROR_MS = 30_000;
/** How long the server has to take the last commands, in ms. */
const QUIT_MS = 500;

export class ServerLink {
  readonly #client: Redis;
  readonly #plan: Pick<ServePlan, "onEvent">;
  /** When each error was told, by its message. */
  readonly #told = new Map<string, number>();
  #isConnected = false;
  /** When the server was back after it was away, on the monotonic clock. */
  #backAt = -Infinity;
  #isClosed = false;

  constructor(client: Redis, plan: Pick<ServePlan, "onEvent">) {
    this.#client = client;
    this.#plan = plan;
    client.on("ready", () => {
      if (this.#backAt === Infinity) this.#backAt = monotonic();
      this.#change(true);
    });
    client.on("close", () => {
      this.#backAt = Infinity;
      this.#change(false);
    });
    client.on("error", (error: Error) => this.tell(error));
    if (client.status === "ready") this.#change(true);
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** How long ago the server came back, in ms; `Infinity` if it was never away, and negative while it is. */
  get backFor(): number {
    return monotonic() - this.#backAt;
  }

  /** Resolves when the connection is down. */
  async whenAway(): Promise<void> {
    if (this.#isConnected) await new Promise((resolve) => this.#client.once("close", resolve));
  }

  tell(error: Error): void {
    if (this.#isClosed || isOfConnection(error)) return;
    const now = monotonic();
    for (const [message, time] of this.#told)
      if (now - time > SAME_ERROR_MS) this.#told.delete(message);
    if (this.#told.has(error.message)) return;
    this.#told.set(error.message, now);
    this.#plan.onEvent({ what: "error", error });
  }

  /** Sends what is left, if the server is there. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#isConnected) await settledWithin(this.#client.quit(), QUIT_MS);
    // For one that has ended, ioredis would start a timer that holds the program.
    if (this.#client.status !== "end") this.#client.disconnect();
  }

  #change(isConnected: boolean): void {
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    if (!this.#isClosed) this.#plan.onEvent({ what: isConnected ? "connected" : "disconnected" });
  }
}

/** Those of sockets have the system call's name; the connection is told of as such. */
function isOfConnection(error: Error): boolean {
  return (
    "syscall" in error ||
    /^(Connection is closed|No answer for|connect ETIMEDOUT)/.test(error.message)
  );
}
