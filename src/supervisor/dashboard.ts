/**
 * The dashboard: one page about all instances, served on a loopback address. This file holds the server and its routes; the folder
 * dashboard/ says who may ask, and what is answered; page/ has the page itself, which runs in the browser.
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { check, type Rule, wholeNumber } from "../option-rules.js";
import { DashboardAccess, isLoopback } from "./dashboard/access.js";
import { type Exchange, Refusal, respond } from "./dashboard/exchange.js";
import { LiveState } from "./dashboard/live-state.js";
import { Operations } from "./dashboard/operations.js";
import { PageFiles } from "./dashboard/page-files.js";
import type { DashboardSource } from "./supervision-state.js";

/** Options of `client.dashboard(options)`. */
export interface DashboardOptions {
  /** @defaultValue 0, any free port */
  readonly port?: number | undefined;
  /** A loopback address: `127.0.0.1` and its like, or `::1`. @defaultValue `"127.0.0.1"` */
  readonly host?: string | undefined;
}

/** A page that is being served. Like any server it keeps the program alive until it is closed. */
export interface Dashboard extends AsyncDisposable {
  /** Address of the page. Whoever has it can restart all instances and read their memory: it contains the token. */
  readonly url: string;
  /** Ends all connections, and what they have asked for. Can be called again. */
  close(): Promise<void>;
}

const LOOPBACK: Rule = {
  expected: 'a loopback address, such as "127.0.0.1" or "::1"',
  accepts: isLoopback,
};

/**
 * Serves the dashboard, until it is closed. The program stays alive as long.
 *
 * @throws TypeError for an address that other machines can reach
 */
export async function serveDashboard(
  source: DashboardSource,
  options: DashboardOptions = {},
): Promise<Dashboard> {
  check(
    options,
    { port: wholeNumber(0, 65_535), host: LOOPBACK },
    "",
    (name) => `Unknown option \`${name}\` of a dashboard`,
  );
  const { port = 0, host = "127.0.0.1" } = options;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return new OpenDashboard(source, server);
}

class OpenDashboard implements Dashboard {
  readonly url: string;
  readonly #server: Server;
  readonly #access: DashboardAccess;
  readonly #files = new PageFiles();
  readonly #live: LiveState;
  readonly #operations: Operations;
  #closed: Promise<void> | undefined;

  constructor(source: DashboardSource, server: Server) {
    this.#server = server;
    this.#access = new DashboardAccess(server.address() as AddressInfo);
    this.#live = new LiveState(source);
    this.#operations = new Operations(source, (notice) => this.#live.notify(notice));
    this.url = this.#access.url;
    server.on("request", (request, response) => void this.#answer({ request, response }));
  }

  close(): Promise<void> {
    return (this.#closed ??= new Promise((resolve) => {
      this.#live.close();
      this.#operations.close();
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { response } = exchange;
    this.#access.protect(response);
    try {
      await this.#route(exchange, this.#access.admit(exchange));
    } catch (error) {
      refuse(response, error);
    }
  }

  async #route(exchange: Exchange, path: string): Promise<void> {
    const { request, response } = exchange;
    if (request.method === "POST") return await this.#operations.post(exchange, path);
    if (path === "events") return this.#live.join(response);
    if (path.startsWith("heap/")) return await this.#operations.download(exchange, path.slice(5));
    const file = this.#files.get(path === "" ? "index.html" : path);
    if (!file) throw new Refusal(404, "There is no such page here.");
    respond(response, 200, file.type, file.content);
  }
}

function refuse(response: ServerResponse, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  // Too late to say it: a download that breaks off at least fails in the browser, too.
  if (response.headersSent) return void response.destroy();
  const status = error instanceof Refusal ? error.status : 502;
  respond(response, status, "text/plain; charset=utf-8", `${message}\n`);
}
