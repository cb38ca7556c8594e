/**
 * A small HTTP service with four instances, which share one socket and one copy of what is loaded.
 *
 *     npm run build:examples && PORT=8080 node build/examples/web.js
 *
 * Then, from elsewhere: `curl localhost:8080`. `kill -HUP` restarts it blue-green, `kill -USR2` rolling, `kill -TERM` stops it, all without a failed
 * request.
 */
import http from "node:http";
import { Controller, type Instance, Service } from "forkmap/container";

export class Web extends Service {
  /** Filled once, in the fork server: all instances share its memory. */
  readonly #primes: number[] = [];

  override preload(): void {
    for (let n = 2; this.#primes.length < 10_000; n += 1) {
      if (this.#primes.every((prime) => prime * prime > n || n % prime !== 0)) this.#primes.push(n);
    }
  }

  async run(instance: Instance): Promise<void> {
    let answered = 0;
    const server = http.createServer((request, response) => {
      answered += 1;
      const n = Number(request.url?.slice(1) || 0);
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({ prime: this.#primes[n], num: instance.num, pid: process.pid, answered }),
      );
    });
    await instance.serve(server, "http");
  }
}

const controller = new Controller(
  (container) => {
    container.run(new Web(), {
      count: 4,
      name: "web",
      restart: "always",
      startupTimeout: 10_000,
      healthCheckTimeout: 10_000,
    });
  },
  { sockets: { http: { host: "127.0.0.1", port: Number(process.env["PORT"] ?? 8080) } } },
);
await controller.run();
