/**
 * What the buttons of the page do. A heap snapshot may be as long as the memory of its process, so it is never in the page's memory or in
 * ours: the page posts that it wants one, and gets an address from which the browser downloads it, once.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { describe } from "../../system/describe.js";
import { clearTimeout, setTimeout } from "../../system/timers.js";
import type { DashboardSource } from "../supervision-state.js";
import { bodyOf, type Exchange, Refusal, respond } from "./exchange.js";

interface Target {
  readonly num?: number;
  readonly pool?: string;
}

/** How long the browser has to begin with the download. */
const TICKET_MS = 60_000;
/** A rolling restart of many instances, or a large heap that is downloaded slowly. Who waits no longer closes the page. */
const LONG_MS = 60 * 60_000;

export class Operations {
  readonly #source: DashboardSource;
  readonly #notify: (notice: { text: string; isError: boolean }) => void;
  readonly #closing = new AbortController();
  readonly #tickets = new Map<string, { readonly target: Target; readonly end: NodeJS.Timeout }>();

  constructor(
    source: DashboardSource,
    notify: (notice: { text: string; isError: boolean }) => void,
  ) {
    this.#source = source;
    this.#notify = notify;
  }

  async post({ request, response }: Exchange, path: string): Promise<void> {
    if (path !== "restart" && path !== "stacks" && path !== "heap") {
      throw new Refusal(404, "There is no such operation.");
    }
    const target = targetIn(await bodyOf(request));
    if (path !== "restart" && target.num === undefined) {
      throw new Refusal(400, "Expected `num` to be the number of an instance.");
    }
    if (path === "heap") return json(response, { path: `heap/${this.#ticketFor(target)}` });
    if (path === "restart") {
      // It goes on without the page that has begun it.
      const { signal } = this.#closing;
      return json(response, {
        result: await this.#source.call({ do: "restart" }, target, { signal, timeout: LONG_MS }),
      });
    }
    const signal = this.#untilClosed(response);
    let text = "";
    const result = await this.#source.call({ do: "thread_dump" }, target, {
      signal,
      onChunk: async (chunk) => {
        text += chunk;
      },
    });
    json(response, { text, result });
  }

  async download({ response }: Exchange, id: string): Promise<void> {
    const ticket = this.#tickets.get(id);
    if (!ticket)
      throw new Refusal(404, "This snapshot has been downloaded, or was never asked for.");
    this.#drop(id);
    const { target } = ticket;
    const signal = this.#untilClosed(response);
    let length = 0;
    const onChunk = async (text: string): Promise<void> => {
      signal.throwIfAborted();
      if (length === 0) {
        response.writeHead(200, {
          "Content-Type": "application/octet-stream",
          "Content-Disposition": `attachment; filename="${fileNameFor(target)}"`,
        });
      }
      length += Buffer.byteLength(text);
      if (!response.write(text)) await once(response, "drain", { signal });
    };
    try {
      await this.#source.call({ do: "memory_dump" }, target, {
        onChunk,
        signal,
        timeout: LONG_MS,
      });
      if (length === 0) throw new Error("The snapshot is empty.");
      response.end();
      this.#notify({
        text: `${headingOf(target)}: ${(length / 1e6).toFixed(1)} MB.`,
        isError: false,
      });
    } catch (error) {
      // The page that has asked cannot see how a download of its browser ends.
      const cause: unknown = signal.aborted ? signal.reason : error;
      const why = cause instanceof Error ? cause.message : String(cause);
      if (!this.#closing.signal.aborted) {
        this.#notify({ text: `${headingOf(target)} failed: ${why}`, isError: true });
      }
      throw error;
    }
  }

  close(): void {
    for (const id of this.#tickets.keys()) this.#drop(id);
    this.#closing.abort();
  }

  #ticketFor(target: Target): string {
    const id = randomBytes(16).toString("hex");
    this.#tickets.set(id, { target, end: setTimeout(() => this.#drop(id), TICKET_MS).unref() });
    return id;
  }

  #drop(id: string): void {
    clearTimeout(this.#tickets.get(id)?.end);
    this.#tickets.delete(id);
  }

  #untilClosed(response: ServerResponse): AbortSignal {
    const gone = new AbortController();
    response.once("close", () => {
      if (!response.writableFinished) gone.abort(new Error("The browser has gone away."));
    });
    return AbortSignal.any([gone.signal, this.#closing.signal]);
  }
}

/** @throws Refusal */
function targetIn(body: unknown): Target {
  if (typeof body !== "object" || body === null) {
    throw new Refusal(400, `Expected the body to be an object, got ${describe(body)}.`);
  }
  const { num, pool, ...others } = body as Readonly<Record<string, unknown>>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new Refusal(400, `Unknown field \`${unknown}\`. There are: num, pool.`);
  if (num !== undefined && !(Number.isSafeInteger(num) && (num as number) >= 0)) {
    throw new Refusal(400, `Expected \`num\` to be a whole number, got ${describe(num)}.`);
  }
  if (pool !== undefined && typeof pool !== "string") {
    throw new Refusal(400, `Expected \`pool\` to be a name, got ${describe(pool)}.`);
  }
  return {
    ...(num === undefined ? {} : { num: num as number }),
    ...(pool === undefined ? {} : { pool }),
  };
}

function json(response: ServerResponse, value: object): void {
  respond(response, 200, "application/json", JSON.stringify(value));
}

function headingOf({ num, pool }: Target): string {
  return `Heap snapshot of ${pool === undefined ? "instance" : `${pool}, child`} ${num}`;
}

function fileNameFor({ num, pool }: Target): string {
  const of = pool === undefined ? `${num}` : `${pool.replaceAll(/[^\w-]/g, "_")}-${num}`;
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return `forkmap-${of}-${time}.heapsnapshot`;
}
