/**
 * What a thread left that is too long for its ledger: it has posted it to a port that nobody listens at, from which it is
 * taken when the ledger speaks of it. By then it is there, as a thread posts first and notes then. Measured against
 * files: 1 MiB of text takes half the time, 64 MiB of bytes too, text beyond Latin-1 a fifth and less.
 */
import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { parsePayload } from "../../wire/payload.js";
import { ENDING_LETTER, type Letter, type ResultPlace } from "../../wire/protocol.js";
import type { Overflow } from "../overflow.js";

export class OverflowMail implements Overflow {
  readonly #port: MessagePort;
  /** Those that came before the one that was asked for. */
  readonly #letters = new Map<number, Letter["value"]>();

  constructor(port: MessagePort) {
    this.#port = port;
  }

  takeResult(seq: number, { kind }: ResultPlace): unknown {
    const value = this.#take(seq);
    if (kind === "bytes" && value instanceof Uint8Array) return value;
    return parsePayload(textOf(value), kind);
  }

  takeWord(seq: number): string {
    return textOf(this.#take(seq));
  }

  takeEnding(): string {
    return textOf(this.#take(ENDING_LETTER));
  }

  /** The port ends with its thread, and what nobody takes with it. */
  discard(): void {}
  rest(): void {}
  close(): void {}

  #take(about: number): Letter["value"] {
    const early = this.#letters.get(about);
    if (early !== undefined) {
      this.#letters.delete(about);
      return early;
    }
    for (;;) {
      const received: { message: Letter } | undefined = receiveMessageOnPort(this.#port);
      if (!received) throw new Error("The thread has not posted what its ledger speaks of");
      const { about: found, value } = received.message;
      if (found === about) return value;
      this.#letters.set(found, value);
    }
  }
}

/** The user's code in the thread has the port too, if it looks for it. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw new Error("The thread has posted something else than its ledger speaks of");
}
