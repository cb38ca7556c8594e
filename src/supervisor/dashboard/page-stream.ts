/**
 * Server-sent events to one open page. A page that reads slowly misses states between, never the last one, and no more than a state waits for
 * it in memory; one that has read nothing for long is disconnected, and may come again.
 */
import type { ServerResponse } from "node:http";
import { clearTimeout, setTimeout } from "../../system/timers.js";
import type { SupervisionState } from "../supervision-state.js";

/** The page takes a connection as lost that is silent for three of these. */
const BEAT_MS = 4000;
const MAX_STALL_MS = 30_000;
const MAX_WAITING_EVENTS = 200;

type Message = "history" | "state" | "problem" | "notice" | "beat";

export class PageStream {
  readonly #response: ServerResponse;
  /** What waits until the page reads on: the newest of each. */
  readonly #waiting = new Map<Message, object>();
  #beat: NodeJS.Timeout | undefined;
  #stall: NodeJS.Timeout | undefined;

  constructor(response: ServerResponse, onClose: () => void) {
    this.#response = response;
    response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
    // The page is to come again after this time, in ms.
    response.write("retry: 1000\n\n");
    response.on("drain", () => this.#flush());
    response.once("close", () => {
      clearTimeout(this.#beat);
      clearTimeout(this.#stall);
      onClose();
    });
    this.#expectBeat();
  }

  send(message: Message, data: object): void {
    if (this.#response.writableNeedDrain) this.#keep(message, data);
    else this.#write(message, data);
  }

  end(): void {
    this.#response.end();
  }

  #keep(message: Message, data: object): void {
    const earlier = this.#waiting.get(message);
    // A history is followed by a state of its own.
    if (message === "history") this.#waiting.delete("state");
    if (message === "state" && earlier) {
      const events = [
        ...(earlier as SupervisionState).events,
        ...(data as SupervisionState).events,
      ].slice(-MAX_WAITING_EVENTS);
      this.#waiting.set(message, { ...data, events });
    } else {
      this.#waiting.set(message, data);
    }
    this.#stall ??= setTimeout(() => this.#response.destroy(), MAX_STALL_MS).unref();
  }

  #flush(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [message, data] of waiting) this.send(message, data);
  }

  #write(message: Message, data: object): void {
    // JSON has no line breaks.
    this.#response.write(`event: ${message}\ndata: ${JSON.stringify(data)}\n\n`);
    this.#expectBeat();
  }

  #expectBeat(): void {
    clearTimeout(this.#beat);
    this.#beat = setTimeout(() => {
      if (this.#response.writableNeedDrain) this.#expectBeat();
      else this.#write("beat", {});
    }, BEAT_MS).unref();
  }
}
