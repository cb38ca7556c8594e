/**
 * A controller: what a program of services runs. It owns the program's signals and the sockets, sets up a container, and replaces it by
 * another when asked to.
 *
 *   HUP       a new container is set up beside the old one, which is stopped once all of the new one is ready (blue-green)
 *   USR2      the instances are replaced one after the other (rolling)
 *   INT TERM  stops; a second one at once
 */
import { ClosedError } from "../errors.js";
import { holdingLoop } from "../launch/loop-hold.js";
import { setImmediate } from "../system/timers.js";
import { isRerun, stopHere } from "../worker/capture.js";
import { checkControllerOptions, type ControllerOptions, graceOf } from "./container-options.js";
import { Container, type ContainerParts } from "./container.js";
import { InstanceError } from "./instance-info.js";
import { ListenSockets, type SocketAddress } from "./listen-sockets.js";
import { type Notify, openNotify } from "./notify.js";
import { Policy } from "./policy.js";
import { WatchedPolicy } from "./watched-policy.js";
import { reapZombies } from "./zombies.js";

/** Starts the services of a container: calls `run` and `spawn`. */
export type Setup = (container: Container) => void | Promise<void>;

const SIGNALS = ["SIGHUP", "SIGUSR2", "SIGINT", "SIGTERM"] as const;

/**
 * Runs services as a program: sets them up, restarts them without losing a connection, and stops them, on signals.
 *
 * @remarks
 * The sockets belong to the controller and outlive its containers. Services are loaded from their modules again at every restart, so that these may
 * have been changed; the setup itself is not loaded again. The program's own listeners of signals stay as they are and are called too.
 *
 * How it is goes to `NOTIFY_SOCKET` (systemd's protocol, with its watchdog), the file `NOTIFY_LOG` (lines of JSON), or stderr.
 *
 * @example
 * ```ts
 * import http from "node:http";
 * import { Controller, type Instance, Service } from "forkmap/container";
 *
 * export class Web extends Service {
 *   async run(instance: Instance): Promise<void> {
 *     const server = http.createServer((_, response) => response.end("hello\n"));
 *     await instance.serve(server, "http");
 *   }
 * }
 *
 * const controller = new Controller((container) => void container.run(new Web(), { count: 2, restart: "on-failure" }), {
 *   sockets: { http: { host: "127.0.0.1", port: 0 } },
 * });
 * setTimeout(() => void controller.stop(), 1000); // for the example; usually a signal does
 * await controller.run();
 * ```
 */
export class Controller {
  readonly #setup: Setup;
  readonly #options: ControllerOptions;
  #sockets: ListenSockets | undefined;
  #notify: Notify | undefined;
  #container: Container | undefined;
  /** A container that is being set up to replace the current one. */
  #next: Container | undefined;
  /** Gives up the restart that waits for a new container to be ready. */
  #giveUp: ((reason: Error) => void) | undefined;
  #restarting: Promise<unknown> = Promise.resolve();
  #isRunning = false;
  #isStopping = false;
  #toldStatus = "";

  /**
   * @param setup - starts the services; called for the first container and for the new one of each blue-green restart
   * @throws TypeError when an option is wrong
   */
  constructor(setup: Setup, options: ControllerOptions = {}) {
    if (typeof setup !== "function")
      throw new TypeError("Expected a function (container) => void that starts the services");
    checkControllerOptions(options);
    this.#setup = setup;
    this.#options = options;
  }

  /** The container that serves now; `undefined` before `run` and after it. */
  get container(): Container | undefined {
    return this.#container;
  }

  /**
   * Returns where a socket listens, as that of the container; `undefined` before `run` and after it.
   *
   * @throws TypeError when there is no such socket
   */
  address(name: string): SocketAddress | undefined {
    return this.#sockets?.address(name);
  }

  /**
   * Sets up the services, and runs until they have been stopped or have ended by themselves. No listener of signals is left then.
   *
   * @throws what `setup` threw the first time, or a socket that cannot be opened
   * @throws InstanceError when an instance has failed for good while the program started, or as the last one
   */
  async run(): Promise<void> {
    if (isRerun()) return await this.#rerun();
    if (this.#isRunning) throw new Error("This controller runs already");
    this.#sockets = new ListenSockets(this.#options.sockets ?? {});
    this.#isRunning = true;
    this.#isStopping = false;
    this.#toldStatus = "";
    this.#notify = openNotify();
    const stopReaping = reapZombies();
    const listeners = SIGNALS.map((signal) => [signal, () => this.#on(signal)] as const);
    for (const [signal, listener] of listeners) process.on(signal, listener);
    try {
      await holdingLoop(() => this.#live());
    } catch (error) {
      this.#notify.tell({ status: `Failed: ${(error as Error).message}` });
      throw error;
    } finally {
      await Promise.all([this.#container?.stop(this.#graceful), this.#next?.stop(this.#graceful)]);
      for (const [signal, listener] of listeners) process.off(signal, listener);
      stopReaping();
      this.#notify.tell({ status: "Stopped" });
      this.#notify.close();
      this.#sockets.close();
      this.#sockets = undefined;
      this.#container = undefined;
      this.#isRunning = false;
    }
  }

  /**
   * Restarts blue-green, as HUP does: sets up a new container, and stops the old one once all of the new one is ready. If called again meanwhile, the
   * container that is not ready yet is given up for a newer one.
   *
   * @throws what kept the new container from getting ready; then the old one goes on as before
   * @throws ClosedError when the controller is not running, or is stopped
   */
  async restart(): Promise<void> {
    this.#assertRunning();
    this.#giveUp?.(new ClosedError("Another restart has begun"));
    const turn = this.#restarting.then(() => holdingLoop(() => this.#blueGreen()));
    this.#restarting = turn.catch(() => {});
    await turn;
  }

  /** Restarts rolling, as USR2 does: see `restart` of the container. @throws as that, or ClosedError as `restart` */
  async restartRolling(options: { readonly maxUnavailable?: number } = {}): Promise<void> {
    this.#assertRunning();
    const turn = this.#restarting.then(() => holdingLoop(() => this.#rolling(options)));
    this.#restarting = turn.catch(() => {});
    await turn;
  }

  /** Stops all instances, as INT and TERM do; `run` returns then. A second call may shorten the grace. */
  async stop(graceful: boolean | number = this.#graceful): Promise<void> {
    graceOf(graceful);
    if (!this.#isStopping) this.#notify?.tell({ stopping: true, status: "Stopping" });
    this.#isStopping = true;
    this.#giveUp?.(new ClosedError("The controller was stopped"));
    await Promise.all([this.#container?.stop(graceful), this.#next?.stop(graceful)]);
  }

  get #graceful(): boolean | number {
    return this.#options.graceful ?? true;
  }

  #on(signal: (typeof SIGNALS)[number]): void {
    const done =
      signal === "SIGHUP"
        ? this.restart()
        : signal === "SIGUSR2"
          ? this.restartRolling()
          : this.#isStopping
            ? this.stop(false)
            : this.stop();
    // Restarts that fail are told of where they fail.
    done.catch(() => {});
  }

  async #live(): Promise<void> {
    this.#notify!.tell({ status: "Starting" });
    const container = this.#make(() => {});
    this.#container = container;
    try {
      await this.#setup(container);
      if (this.#isStopping) await container.stop(this.#graceful);
      await container.waitUntilReady();
      if (!this.#isStopping && container === this.#container) this.#tellReady();
    } catch (error) {
      // A restart may have replaced it before its setup was through.
      if (container === this.#container) throw error;
    }
    for (let last: Container | undefined; last !== this.#container;) {
      last = this.#container!;
      await last.wait();
      await this.#restarting;
    }
    // Throws if it has ended because an instance has failed for good.
    if (!this.#isStopping) await this.#container.waitUntilReady();
  }

  async #blueGreen(): Promise<void> {
    this.#assertRunning();
    this.#notify!.tell({ reloading: true, status: "Restarting" });
    let fail!: (reason: Error) => void;
    const failed = new Promise<never>((_, reject) => (fail = reject));
    failed.catch(() => {});
    const next = this.#make(fail);
    this.#next = next;
    this.#giveUp = fail;
    try {
      await Promise.race([this.#setUp(next), failed]);
    } catch (error) {
      this.#next = undefined;
      this.#giveUp = undefined;
      // Some of its instances may serve already.
      await next.stop(this.#graceful);
      if (!(error instanceof ClosedError)) this.#tellFailure(error as Error);
      throw error;
    }
    this.#giveUp = undefined;
    this.#next = undefined;
    const old = this.#container!;
    this.#container = next;
    if (this.#isStopping) return await next.stop(this.#graceful);
    this.#tellReady();
    await old.stop(this.#graceful);
  }

  async #setUp(container: Container): Promise<void> {
    await this.#setup(container);
    await container.waitUntilReady();
  }

  async #rolling(options: { readonly maxUnavailable?: number }): Promise<void> {
    this.#assertRunning();
    this.#notify!.tell({ reloading: true, status: "Restarting one after the other" });
    try {
      await this.#container!.restart(options);
    } catch (error) {
      this.#tellFailure(error as Error);
      throw error;
    }
    this.#tellReady();
  }

  #make(onFailedStart: (reason: Error) => void): Container {
    const { graceful: _, policy = new Policy(), sockets: __, ...rest } = this.#options;
    const watched = new WatchedPolicy(policy, {
      onChange: () => this.#tellStatus(container),
      onFailedStart: (instance, end) => onFailedStart(new InstanceError(instance, end)),
    });
    const parts: ContainerParts = { ...rest, policy: watched, sockets: this.#sockets! };
    const container: Container = new Container(parts as object);
    return container;
  }

  #tellReady(): void {
    const container = this.#container!;
    this.#toldStatus = statusOf(container);
    this.#notify!.tell({ ready: true, size: container.size, status: this.#toldStatus });
  }

  #tellStatus(container: Container): void {
    // Later: the hook is called while the change is under way.
    setImmediate(() => {
      // Not before it was ready for the first time: until then it is starting.
      if (container !== this.#container || this.#isStopping || this.#toldStatus === "") return;
      const status = statusOf(container);
      if (status !== this.#toldStatus) this.#notify!.tell({ size: container.size, status });
      this.#toldStatus = status;
    });
  }

  /** The old container goes on: to systemd, the program is as ready as before. */
  #tellFailure({ message }: Error): void {
    if (this.#isStopping) return;
    this.#notify!.tell({ ready: true, status: `The restart failed: ${message}` });
    process.emitWarning(`The restart failed, and what ran before goes on: ${message}`, {
      type: "ForkmapWarning",
      code: "FORKMAP_RESTART",
    });
  }

  #assertRunning(): void {
    if (this.#isRunning && this.#container && !this.#isStopping) return;
    throw new ClosedError("The controller is not running");
  }

  /** The program is run again to find a service: it gets as far as the setup. */
  async #rerun(): Promise<void> {
    await this.#setup(new Container({ sockets: this.#options.sockets }));
    await stopHere();
  }
}

function statusOf({ instances, size }: Container): string {
  const ready = instances.filter(({ state }) => state === "ready").length;
  return `${ready} of ${size} instances ready`;
}
