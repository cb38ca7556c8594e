/** What users extend to write a service, and what an instance of it is given. */
import type { Server } from "node:net";
import type { Instance as ChildInstance } from "../worker/worker.js";

/**
 * The child that a service runs in, as `run` sees it: which one it is, and how it tells its container how it is. It may be taken apart, as
 * `run({ serve, signal })`.
 */
export interface Instance extends ChildInstance {
  /**
   * Aborts when the instance is asked to stop: by its container, or by SIGINT.
   *
   * @remarks
   * Reading this property installs the handler of SIGINT, and so do `ready`, `listen` and `serve`. An instance that has not read it when it is asked
   * to stop, nor within 0.1 s, ends at once.
   */
  readonly signal: AbortSignal;
  /**
   * Tells the container that the instance does its work from now on: `startupTimeout` no longer applies, `healthCheckTimeout` does.
   *
   * @param status - text for people, see `status`
   */
  ready(this: void, status?: string): void;
  /**
   * Tells the container that the instance is well. With the option `healthCheckTimeout`, an instance that is ready has to call it more often
   * than that, or it is killed; `serve` does so by itself.
   *
   * @param status - text for people, see `status`
   */
  healthy(this: void, status?: string): void;
  /** Sets the text that the container shows as the instance's status. It is no sign of health. */
  status(this: void, text: string): void;
  /**
   * Returns a descriptor of the container's listening socket, for `server.listen({ fd })` or other programs. Each call returns a new one,
   * which belongs to the caller.
   *
   * @param name - the name in the container's option `sockets`; may be left out if there is only one
   * @throws TypeError when the container has no such socket
   */
  socket(this: void, name?: string): number;
  /**
   * Listens on the container's socket.
   *
   * @param server - any server of `node:net`, and so of `node:http`, `node:https`, `node:http2`, `node:tls`
   * @param name - as for `socket`
   */
  listen(this: void, server: Server, name?: string): Promise<void>;
  /**
   * Serves on the container's socket until the instance is asked to stop: listens, tells that it is ready, and that it is healthy as
   * long as its event loop turns. Then it drains, so that no client sees a reset: it stops accepting, answers what is in flight and what still
   * comes over kept-alive connections, with `Connection: close`, and closes connections that stay idle.
   *
   * @param server - as for `listen`; of Express `http.createServer(app)`, of Fastify `app.server` after `await app.ready()`
   * @param name - as for `socket`
   * @returns once the last connection has ended
   */
  serve(this: void, server: Server, name?: string): Promise<void>;
}

/**
 * The base of every service: extend it and override `run`. A `Container` keeps instances of it alive, each in a process or thread of its own.
 *
 * @remarks
 * Its class is found in its module as that of a worker is, and its own fields travel as those of a worker do.
 *
 * @example
 * ```ts
 * import { setTimeout as sleep } from "node:timers/promises";
 * import { Container, type Instance, Service } from "forkmap/container";
 *
 * export class Clock extends Service {
 *   async run(instance: Instance): Promise<void> {
 *     instance.ready();
 *     while (!instance.signal.aborted) {
 *       instance.status(new Date().toISOString());
 *       await sleep(1000, undefined, { signal: instance.signal }).catch(() => {});
 *     }
 *   }
 * }
 *
 * const container = new Container();
 * container.spawn(new Clock(), { restart: "always" });
 * await container.waitUntilReady();
 * await container.stop();
 * ```
 */
export abstract class Service {
  /** As of a worker: set it to `true` to fork whatever the module and `preload` leave open, alive or pending. @defaultValue `false` */
  static readonly forkSafe?: boolean;
  /** Runs once in the fork server, before any fork: all instances share what it loads. A spawned instance or a thread runs it itself. */
  preload?(): void | Promise<void>;
  /**
   * Does the work of one instance. When it returns, the instance ends with exit code 0; when it throws, with 1.
   *
   * @param instance - which instance this is, and how it tells its container how it is
   */
  abstract run(instance: Instance): void | Promise<void>;
}
