/** Starts the children of one service: chooses the start method when first needed, and makes the room that they share. */
import type { Child, ChildEvents, LaunchChoice, Room } from "../launch/launcher.js";
import { processChoice, threadChoice } from "../launch/choices.js";
import { outside } from "../launch/outside.js";
import type { Limits } from "../options.js";
import { ONE_ITEM } from "../wire/ledger.js";
import { CHANNEL_FD } from "../wire/protocol.js";
import type { Kind } from "../worker/worker.js";
import type { Supervision } from "../worker/worker-source.js";
import type { ContainerOptions, Keep } from "./container-options.js";
import { ConnectionCounts } from "./connection-counts.js";
import type { ListenSockets } from "./listen-sockets.js";

/** What one child of a service starts with. */
export interface InstanceStart {
  readonly num: number;
  readonly generation: number;
  readonly name: string;
  readonly healthCheckTimeout: number | undefined;
  readonly limits: Limits | undefined;
  readonly threads: { readonly count: number; readonly keep: Keep } | undefined;
}

/** A child that runs no items. */
export type InstanceChild = Omit<Child, "overflow">;

export interface ServiceLaunch {
  /** Undefined until it is known. */
  readonly kind: Kind | undefined;
  /** Resolves once children can be started; rejects when they cannot, and may be called again. */
  ready(): Promise<void>;
  /** Starts a child; only called once it is ready. */
  start(start: InstanceStart, events: ChildEvents): InstanceChild;
  /** Kills what does not end its children, with all of them. */
  abandon(): void;
  /** Ends what is kept warm; called when no child is alive. */
  close(): Promise<void>;
}

/** What concerns the launch of a service, of the options of its container and of its instances. */
export interface LaunchSettings extends Pick<
  ContainerOptions,
  "startMethod" | "env" | "cwd" | "execArgv" | "output"
> {
  readonly module: string | URL | undefined;
  readonly startupTimeout: number | undefined;
  readonly supervision: Supervision | undefined;
}

export class NodeLaunch implements ServiceLaunch {
  readonly #choice: LaunchChoice;
  readonly #sockets: Readonly<Record<string, number>>;
  readonly #isTagged: boolean;
  #kind: Kind | undefined;
  #room: Promise<Room> | undefined;
  #openRoom: Room | undefined;
  #connections: ConnectionCounts | undefined;
  #children = 0;
  /** Makes the child's streams ones that this process reads. */
  #mark: { readonly mark: string } | object = {};

  constructor(choice: LaunchChoice, sockets: Readonly<Record<string, number>>, isTagged: boolean) {
    this.#choice = choice;
    this.#sockets = sockets;
    this.#isTagged = isTagged;
  }

  get kind(): Kind | undefined {
    return this.#kind;
  }

  async ready(): Promise<void> {
    const launcher = await this.#choice.ready();
    this.#kind = launcher.startMethod;
    this.#room ??= launcher.makeRoom({
      scratchRoot: undefined,
      shape: ONE_ITEM,
      hasChannels: true,
    });
    try {
      this.#openRoom = await this.#room;
    } catch (error) {
      this.#room = undefined;
      throw error;
    }
    if (Object.keys(this.#sockets).length > 0)
      this.#connections ??= ConnectionCounts.in(this.#openRoom);
    // Loads node:crypto.
    if (this.#isTagged) this.#mark = { mark: (await import("../wire/output-mark.js")).newMark() };
  }

  start(instance: InstanceStart, events: ChildEvents): Child {
    const room = this.#openRoom!;
    this.#children += 1;
    const connections = this.#connections?.file;
    const id = String(this.#children);
    const { num, generation, limits, name, healthCheckTimeout, threads } = instance;
    const start = {
      num,
      generation,
      directory: room.directory,
      shape: ONE_ITEM,
      name: id,
      service: { name, sockets: this.#sockets, connections, healthCheckTimeout, threads },
      ...(limits ? { limits } : {}),
      ...this.#mark,
    };
    const onEnd: ChildEvents["onEnd"] = (end) => {
      this.#connections?.clear(num);
      events.onEnd(end);
    };
    return outside(() => room.start({ id, start }, { ...events, onEnd }));
  }

  abandon(): void {
    const { current } = this.#choice;
    if (current?.startMethod !== "fork") return;
    for (const pid of current.pids) process.kill(pid, "SIGKILL");
  }

  async close(): Promise<void> {
    const room = await this.#room?.catch(() => undefined);
    this.#connections?.close();
    await room?.remove();
    await this.#choice.close();
  }
}

/** Returns the launch of a service that is a class. */
export function launchOf(
  service: object,
  { startMethod, output, ...settings }: LaunchSettings,
  sockets: ListenSockets,
): ServiceLaunch {
  const options = { ...definedOnly(settings), isService: true };
  if (startMethod === "thread") {
    // A thread shares the descriptors of this process.
    return new NodeLaunch(threadChoice(service, options), sockets.byName(), false);
  }
  const choice = processChoice(service, {
    ...options,
    ...definedOnly({ startMethod, output }),
    sockets: sockets.fds,
  });
  const names = sockets.names.map((name, i) => [name, CHANNEL_FD + 1 + i] as const);
  return new NodeLaunch(choice, Object.fromEntries(names), output === "tag");
}

type Defined<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

function definedOnly<T extends object>(options: T): Defined<T> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as Defined<T>;
}
