/** The argument of `run`: the child as a service sees it. */
import type { Server } from "node:net";
import type { Instance } from "../../container/service.js";
import { describe } from "../../system/describe.js";
import { monotonic } from "../../system/monotonic.js";
import { clearInterval, setInterval, setTimeout } from "../../system/timers.js";
import type { Replacement, ServiceStart } from "../../wire/notification.js";
import type { InstanceView } from "../../wire/supervision.js";
import { Interruption } from "../../worker/running-task.js";
import type { Frame, Instance as ChildInstance, Kind } from "../../worker/worker.js";
import type { Supervision } from "../../worker/worker-source.js";
import { AcceptBalance } from "./accept-balance.js";
import { Drain } from "./drain.js";
import type { ServiceLink } from "../items/service-link.js";

/** Signs of health of `serve` per `healthCheckTimeout`: one may be late. */
const SIGNS = 3;
/** Asked to stop by SIGINT alone, as from a terminal: the grace is not known, and this is the container's default. */
const USUAL_GRACE_MS = 10_000;
/** An instance that is asked to stop, and is ready, may ask for the signal so late. */
const LATE_MS = 100;
/** Of a process that SIGINT has ended, as shells have it. */
const INTERRUPTED_CODE = 130;

export class RunningInstance implements Instance {
  readonly num: number;
  readonly generation: number;
  readonly kind: Kind;
  readonly name: string;
  readonly parent: Frame | undefined;
  readonly context: readonly Frame[];
  readonly supervision: Supervision | undefined;
  readonly #start: ServiceStart;
  readonly #link: ServiceLink;
  readonly #interruption: Interruption;
  readonly #balance: AcceptBalance | undefined;
  #isHeeding = false;
  /** Servers that listen on sockets of the container. */
  readonly #servers = new Set<Server>();
  readonly #drains = new Set<Drain>();
  #requests = 0;
  #onInstances: ((instances: readonly InstanceView[]) => void) | undefined;
  readonly #known: InstanceView[] = [];
  /** When the container kills this instance, on the monotonic clock. */
  #killedAt: number | undefined;

  constructor(
    child: ChildInstance,
    start: ServiceStart,
    link: ServiceLink,
    supervision: Supervision | undefined,
  ) {
    this.supervision = supervision;
    this.num = child.num;
    this.generation = child.generation;
    this.kind = child.kind;
    this.name = child.name;
    this.parent = child.parent;
    this.context = child.context;
    this.#start = start;
    this.#link = link;
    const cells = start.connections === undefined ? undefined : link.map(start.connections);
    this.#balance = cells && new AcceptBalance(cells, child.num);
    this.#interruption = new Interruption(() => this.#heed(), "The instance was asked to stop");
    // Not enumerable: an instance can be cloned.
    for (const name of BOUND) Object.defineProperty(this, name, { value: bound(this, name) });
  }

  get signal(): AbortSignal {
    return this.#interruption.signal();
  }

  /** The instance is asked to stop, and is killed after `within` ms. */
  interrupt(within: number): void {
    this.#killedAt ??= monotonic() + within;
    this.#interruption.abort();
    if (!this.#isHeeding || this.#interruption.isUsed) return;
    // It may be about to ask for the signal, having just told that it is ready.
    setTimeout(() => {
      if (!this.#interruption.isUsed) this.#link.leave(INTERRUPTED_CODE);
    }, LATE_MS);
  }

  /** From now on SIGINT does not end the process, but asks the instance to stop. */
  #heed(): void {
    if (this.#isHeeding) return;
    this.#isHeeding = true;
    this.#link.onInterrupt(() => this.interrupt(USUAL_GRACE_MS));
  }

  ready(status?: string): void {
    this.#heed();
    this.#link.say({ notify: { ready: true, ...checked(status) } });
  }

  healthy(status?: string): void {
    this.#link.say({ notify: { healthy: true, ...checked(status) } });
  }

  status(text: string): void {
    if (text === undefined)
      throw new TypeError("Expected the status to be a string, got undefined");
    this.#link.say({ notify: checked(text) });
  }

  socket(name?: string): number {
    return this.#link.duplicate(this.#shared(name));
  }

  /** Returns the descriptor that all instances share. */
  #shared(name: string | undefined): number {
    const { sockets } = this.#start;
    const names = Object.keys(sockets);
    const only = name === undefined && names.length === 1 ? names[0]! : name;
    if (only !== undefined && Object.hasOwn(sockets, only)) return sockets[only]!;
    const which =
      names.length === 0
        ? "The container of this instance has no sockets: name them in its option `sockets`"
        : `Expected the name of a socket of the container (${names.join(", ")})`;
    throw new TypeError(`${which}, got ${describe(name)}`);
  }

  async listen(server: Server, name?: string): Promise<void> {
    await this.#listen(server, name);
  }

  /** Returns what is to be called before the server stops to listen. */
  async #listen(server: Server, name: string | undefined): Promise<() => void> {
    checkServer(server);
    // Asked to stop, a server should close by itself and not be ended by SIGINT.
    void this.signal;
    if (server.listening) {
      throw new Error(
        "The server listens already: `listen` and `serve` make it listen on the container's socket",
      );
    }
    const shared = this.#shared(name);
    const fd = this.#link.duplicate(shared);
    await new Promise<void>((resolve, reject) => {
      const onListening = () => {
        server.off("error", onError);
        resolve();
      };
      const onError = (error: Error) => {
        server.off("listening", onListening);
        reject(error);
      };
      server.once("listening", onListening).once("error", onError).listen({ fd });
    });
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
    const endBalance = this.#balance?.follow(server, () => this.#link.duplicate(shared));
    return endBalance ?? (() => {});
  }

  async serve(server: Server, name?: string): Promise<void> {
    checkServer(server);
    const { signal } = this;
    const drain = new Drain(server);
    this.#drains.add(drain);
    if (this.supervision) server.on("request", () => (this.#requests += 1));
    const endBalance = await this.#listen(server, name);
    this.ready();
    const stopBeating = this.beat();
    try {
      await endOf(server, signal);
      endBalance();
      await drain.finish(monotonic() + this.timeLeft);
    } finally {
      stopBeating();
      this.#drains.delete(drain);
    }
  }

  /** Tells from now on that it is healthy, as long as the event loop turns. Returns what stops that. */
  beat(): () => void {
    const { healthCheckTimeout } = this.#start;
    if (healthCheckTimeout === undefined) return () => {};
    const timer = setInterval(() => this.healthy(), healthCheckTimeout / SIGNS);
    return () => clearInterval(timer);
  }

  /** The next one takes its place once it has finished what it has. */
  replace(request: Replacement): void {
    this.#link.say({ notify: { replace: request } });
  }

  /** Of a supervisor: calls the listener with what becomes of the instances, at once with those that are known. */
  followInstances(listener: (instances: readonly InstanceView[]) => void): void {
    this.#onInstances = listener;
    listener(this.#known.splice(0));
  }

  tellInstances(instances: readonly InstanceView[]): void {
    if (this.#onInstances) this.#onInstances(instances);
    else this.#known.push(...instances);
  }

  /** Responses that its servers are at work on. */
  get inFlight(): number {
    return Array.from(this.#drains, ({ inFlight }) => inFlight).reduce(
      (sum, each) => sum + each,
      0,
    );
  }

  /** Requests that its servers have had. */
  get requests(): number {
    return this.#requests;
  }

  /** Whether it serves, and was not asked to stop. */
  get isServing(): boolean {
    return this.#killedAt === undefined && this.#servers.size > 0;
  }

  /** How long until the container kills this instance, which was asked to stop, in ms. */
  get timeLeft(): number {
    return (this.#killedAt ?? monotonic() + USUAL_GRACE_MS) - monotonic();
  }
}

/** What `run` is given is taken apart, too: `run({ serve, signal })`. */
const BOUND = ["ready", "healthy", "status", "socket", "listen", "serve"] as const;

function bound(instance: RunningInstance, name: (typeof BOUND)[number]): unknown {
  const method = instance[name] as (...args: unknown[]) => unknown;
  return method.bind(instance);
}

function checked(status: string | undefined): { readonly status?: string } {
  if (status === undefined) return {};
  if (typeof status === "string") return { status };
  throw new TypeError(`Expected the status to be a string, got ${describe(status)}`);
}

function checkServer(server: unknown): asserts server is Server {
  const { listen, on } = Object(server) as Partial<Server>;
  if (typeof server === "object" && typeof listen === "function" && typeof on === "function")
    return;
  throw new TypeError(
    `Expected a server of node:net, node:http or one of their kind (of an app of Express: http.createServer(app)), got ${describe(server)}`,
  );
}

/** Resolves when the server is to stop: asked from outside, or closed by its own program. */
function endOf(server: Server, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    server.once("close", () => resolve());
    server.once("error", reject);
  });
}
