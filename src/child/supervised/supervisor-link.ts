/**
 * The connection of a child to its supervisor: introduces the child, and answers calls. It is made again whenever it is lost; the child neither
 * waits for it nor lives because of it.
 *
 *   away ──connect, introduce──▶ known ──closed──▶ away, for a while that is partly random
 */
import type { Socket } from "node:net";
import { backoffAfter } from "../../system/backoff.js";
import { describe } from "../../system/describe.js";
import { setImmediate, setTimeout } from "../../system/timers.js";
import { Calls, type IncomingCall } from "../../wire/calls.js";
import { connectTo } from "../../wire/socket-path.js";
import { BEGUN, type ChildFacts } from "../../wire/supervision.js";
import { readToken } from "../../wire/supervisor-directory.js";
import type { Supervised } from "../items/supervised.js";

/** A supervisor is restarted after some 100 ms. While it is away, an attempt costs 0.1 ms. */
const BACKOFF = { min: 100, max: 1000, factor: 2 };

export class SupervisorLink {
  readonly #directory: string;
  readonly #facts: ChildFacts;
  readonly #child: Supervised;
  readonly #onKnown: (token: string) => void;
  #attempt = 0;

  /** @param onKnown - called whenever the child has introduced itself, with the token */
  constructor(
    directory: string,
    facts: ChildFacts,
    child: Supervised,
    onKnown: (token: string) => void,
  ) {
    this.#onKnown = onKnown;
    this.#directory = directory;
    this.#facts = facts;
    this.#child = child;
  }

  begin(): void {
    let socket: Socket;
    let token: string;
    try {
      token = readToken(this.#directory);
      socket = connectTo(this.#directory);
    } catch {
      // It has not begun yet, or has gone.
      return this.#later();
    }
    socket.unref();
    const calls = new Calls(socket, {
      side: "connected",
      onCall: (call) => this.#answer(call),
      onClose: () => this.#later(),
    });
    calls.call({ do: "register", token, child: this.#facts }).then(
      () => {
        this.#attempt = 0;
        this.#onKnown(token);
      },
      // Refused: the token is that of another run.
      () => calls.close(),
    );
  }

  #later(): void {
    this.#attempt += 1;
    setTimeout(() => this.begin(), backoffAfter(this.#attempt, BACKOFF)).unref();
  }

  async #answer({ message, signal, answer }: IncomingCall): Promise<unknown> {
    const { do: name, args = {} } = message;
    if (name === "replace") {
      this.#child.replace(String(message["reason"]));
      return undefined;
    }
    if (name === "signal") {
      // Once the answer has left.
      setImmediate(() => process.kill(process.pid, message["signal"] as NodeJS.Signals));
      return undefined;
    }
    // At once: a child that does not say so is blocked.
    answer(BEGUN).catch(() => {});
    const { DIAGNOSTICS } = await import("./diagnostics.js");
    const load = DIAGNOSTICS.get(name);
    if (!load)
      throw new TypeError(`Expected the name of a diagnostic operation, got ${describe(name)}`);
    const diagnostic = await load();
    return await diagnostic({
      args: args as Readonly<Record<string, unknown>>,
      signal,
      chunk: (text) => answer(text),
    });
  }
}
