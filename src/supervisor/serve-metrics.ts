/** The page of metrics over HTTP, on a port of the loopback interface or a Unix socket. */
import { lstatSync, renameSync, rmSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname } from "node:path";
import { describe } from "../system/describe.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { withSocketPath } from "../wire/socket-path.js";
import { warnOf } from "./monitor-warning.js";
import type { MetricsPage } from "./prometheus.js";

/** Where metrics are served. */
export type MetricsAddress =
  | {
      /** From 0, which is any that is free. */
      readonly port: number;
      /** @defaultValue "127.0.0.1" */
      readonly host?: string | undefined;
    }
  | {
      /** Of a Unix socket, which only this user may connect to. */
      readonly path: string;
    };

/** Metrics that are served, or will be as soon as the port is free. */
export interface MetricsServer {
  /** Its address, or the path of the Unix socket; undefined while it does not listen. */
  readonly url: string | undefined;
  /** Resolves once it listens. Rejects never: what prevents that is warned of, and may pass. */
  readonly listening: Promise<void>;
  /** Ends all connections, and answers nothing any more. */
  close(): Promise<void>;
}

/** Time between two attempts to listen, while the supervisor before this one may still have the port. */
const RETRY_MS = 250;
/** So often in silence: half a minute, which a supervisor has to end. Then it is warned of, and goes on. */
const QUIET_RETRIES = 120;
/** A client that sends its request so slowly is none. */
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Serves `GET /metrics`, and nothing else.
 *
 * @param page - called for each request; returns undefined if another supervisor has the metrics
 */
export function serveMetrics(
  address: MetricsAddress,
  page: () => Promise<MetricsPage | undefined>,
): MetricsServer {
  return new Served(address, page);
}

class Served implements MetricsServer {
  readonly listening: Promise<void>;
  readonly #address: MetricsAddress;
  readonly #server: http.Server;
  #retries = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** Of the socket file, which another supervisor may have replaced by its own. */
  #inode: number | undefined;

  constructor(address: MetricsAddress, page: () => Promise<MetricsPage | undefined>) {
    this.#address = address;
    this.#server = http.createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => {
        void answer(request, response, page);
      },
    );
    // The supervisor's own work decides how long it lives.
    this.#server.unref();
    this.listening = new Promise((resolve) => this.#server.once("listening", resolve));
    this.#server.on("error", (error) => this.#failed(error));
    this.#listen();
  }

  get url(): string | undefined {
    if (!this.#server.listening) return undefined;
    if ("path" in this.#address) return this.#address.path;
    const { address, family, port } = this.#server.address() as AddressInfo;
    const host = family === "IPv6" ? `[${address}]` : address;
    return `http://${host}:${port}${PATH}`;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#removeSocket();
    const closed = new Promise<void>((resolve) => {
      // One that does not listen has an error, which is none here.
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    await closed;
  }

  #listen(): void {
    if ("path" in this.#address) this.#listenAt(this.#address.path);
    else this.#server.listen({ port: this.#address.port, host: this.#address.host ?? LOOPBACK });
  }

  /**
   * Listens under another name first and takes the name by renaming: so it takes over from a supervisor that still runs, and from the file that one that
   * was killed has left, which `listen` could not tell apart.
   */
  #listenAt(path: string): void {
    const draft = `${path}.${process.pid}`;
    rmSync(draft, { force: true });
    // `listen` creates the file before it returns, with the mode that this mask leaves; a later chmod would leave it open to others for a moment.
    const mask = process.umask(0o177);
    let isBegun = false;
    try {
      withSocketPath(dirname(draft), basename(draft), (short) => {
        isBegun = true;
        this.#server.listen({ path: short });
      });
      this.#inode = lstatSync(draft).ino;
      renameSync(draft, path);
    } catch (error) {
      rmSync(draft, { force: true });
      if (!isBegun) this.#failed(error as Error);
      // Otherwise it has failed to listen, and emits why.
      else if (this.#server.listening) this.#server.close(() => this.#failed(error as Error));
    } finally {
      process.umask(mask);
    }
  }

  #removeSocket(): void {
    if (!("path" in this.#address)) return;
    try {
      if (lstatSync(this.#address.path).ino === this.#inode) rmSync(this.#address.path);
    } catch {
      // It is gone.
    }
  }

  #failed(error: Error): void {
    if (this.#isClosed) return;
    const isTaken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
    this.#retries += 1;
    if (!isTaken || this.#retries > QUIET_RETRIES) {
      warnOf(`Metrics cannot be served: ${error.message}. It is tried again`, "FORKMAP_METRICS");
    }
    this.#timer = setTimeout(() => this.#listen(), RETRY_MS).unref();
  }
}

async function answer(
  { method, url = "" }: http.IncomingMessage,
  response: http.ServerResponse,
  page: () => Promise<MetricsPage | undefined>,
): Promise<void> {
  if (url !== PATH && !url.startsWith(`${PATH}?`)) {
    send(response, 404, `There is only ${PATH}\n`);
  } else if (method === "GET") {
    try {
      const found = await page();
      if (found) send(response, 200, found.text, { "content-type": found.contentType });
      else
        send(response, 503, "Another supervisor has taken over: ask again\n", {
          "retry-after": "1",
        });
    } catch (error) {
      const why = error instanceof Error ? error.message : describe(error);
      warnOf(`Metrics cannot be shown: ${why}`, "FORKMAP_METRICS");
      send(response, 500, "Metrics cannot be shown; the log of the supervisor says why\n");
    }
  } else send(response, 405, "Only GET is served\n", { allow: "GET" });
}

function send(
  response: http.ServerResponse,
  status: number,
  text: string,
  headers: http.OutgoingHttpHeaders = {},
): void {
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

const LOOPBACK = "127.0.0.1";
const PATH = "/metrics";
