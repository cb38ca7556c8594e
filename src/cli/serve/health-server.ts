/**
 * The answers to an orchestrator's probes over HTTP: `/health`, whether this machine takes jobs (Kubernetes: readiness), and `/live`, whether
 * its event loop runs (liveness). No secrets are in them, and nothing can be changed.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ServeError } from "./find-workers.js";
import type { Address } from "./serve-arguments.js";

/** A server that is restarted takes no longer, and machines that all leave a load balancer at once help nobody. */
const DISCONNECTED_LIMIT_MS = 5000;
const LOOK_MS = 500;

export interface Health {
  /** As in the statistics of a queue worker. */
  readonly state: string;
  readonly connected: boolean;
}

export class HealthServer {
  readonly #server: Server;
  readonly #read: () => Health;
  readonly #timer: NodeJS.Timeout;
  #connectedAt = performance.now();

  /** @param read - how it is; all its fields are part of the answer */
  constructor(read: () => Health) {
    this.#read = read;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** @returns the URL @throws ServeError if the address cannot be used */
  async listen({ host, port }: Address): Promise<string> {
    try {
      this.#server.listen(port, host);
      await once(this.#server, "listening");
    } catch (error) {
      throw new ServeError(
        `--health cannot listen at ${urlOf(host, port)}: ${(error as Error).message}`,
      );
    }
    // Health alone is no reason to stay.
    this.#server.unref();
    return urlOf(host, (this.#server.address() as AddressInfo).port);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #look(): Health {
    const health = this.#read();
    if (health.connected) this.#connectedAt = performance.now();
    return health;
  }

  #answer({ method, url }: IncomingMessage, response: ServerResponse): void {
    const path = url?.split("?", 1)[0];
    if (path !== "/health" && path !== "/live") {
      return reply(response, 404, { error: "There are /health and /live" });
    }
    if (method !== "GET" && method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return reply(response, 405, { error: "Only GET and HEAD" });
    }
    if (path === "/live") return reply(response, 200, { live: true });
    const health = this.#look();
    const away = performance.now() - this.#connectedAt;
    const isWell = health.state === "serving" && away <= DISCONNECTED_LIMIT_MS;
    return reply(response, isWell ? 200 : 503, health);
  }
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  response.writeHead(status).end(`${JSON.stringify(body)}\n`);
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
