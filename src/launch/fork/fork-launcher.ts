/**
 * Start method `fork`: one fork server for all calls of a `Parallel`, started when it is first needed and again if it
 * dies. If a fork server that was started again cannot fork, a `SpawnLauncher` takes over. The folder holds this
 * launcher, the parent's end of the fork server and of its children, and the FIFOs of their output.
 */
import type { UnfitError } from "../../errors.js";
import type { StartRequest } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { Launcher, Room, RoomOptions } from "../launcher.js";
import type { SpawnLauncher } from "../spawn/spawn-launcher.js";
import type { ChildSettings } from "../warm-node.js";
import type { ForkRoom } from "./fork-room.js";
import { ForkServer } from "./fork-server.js";
import type { ForkedChildEvents, ForkedChildHandle } from "./forked-child-handle.js";

/** Usually more than there are processors: children often wait for something else, and take little memory. */
const DEFAULT_CONCURRENCY = 32;

export class ForkLauncher implements Launcher {
  readonly startMethod = "fork";
  readonly defaultConcurrency = DEFAULT_CONCURRENCY;
  readonly #locate: () => WorkerSource;
  readonly #settings: ChildSettings;
  readonly #directories = new Set<string>();
  readonly #spawnInstead: (reason: UnfitError) => Promise<SpawnLauncher>;
  #server: ForkServer | undefined;
  #ForkRoom: typeof ForkRoom | undefined;
  #wasReady = false;
  #spawner: SpawnLauncher | undefined;

  /**
   * @param locate - describes the worker; called while the fork server starts
   * @param spawnInstead - called when a fork server that was started again finds that it can no longer fork
   */
  constructor(
    locate: () => WorkerSource,
    settings: ChildSettings,
    spawnInstead: (reason: UnfitError) => Promise<SpawnLauncher>,
  ) {
    this.#locate = locate;
    this.#settings = settings;
    this.#spawnInstead = spawnInstead;
  }

  get pids(): number[] {
    const pid = this.#server?.pid;
    return pid === undefined ? [] : [pid];
  }

  /** The launcher that has taken over, if one has. */
  get spawner(): SpawnLauncher | undefined {
    return this.#spawner;
  }

  async ready(): Promise<void> {
    await this.#current().ready;
    // Not before, as everything waits for the fork server to start; not later, as the package may be removed by then.
    this.#ForkRoom ??= (await import("./fork-room.js")).ForkRoom;
  }

  async makeRoom({ scratchRoot, shape, hasChannels }: RoomOptions): Promise<Room> {
    const room = new this.#ForkRoom!(scratchRoot, shape, this);
    await room.open(hasChannels, this.#settings.readsOutput);
    return room;
  }

  guard(directory: string): void {
    this.#directories.add(directory);
    this.#server?.send({ do: "scratch", directory });
    this.#spawner?.guard(directory);
  }

  unguard(directory: string): void {
    this.#directories.delete(directory);
    this.#server?.send({ do: "forget", directory });
    this.#spawner?.unguard(directory);
  }

  start(request: StartRequest, events: ForkedChildEvents): ForkedChildHandle {
    return this.#current().start(request, events);
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  #current(): ForkServer {
    if (this.#server) return this.#server;
    const onGone = () => {
      if (this.#server === server) this.#server = undefined;
    };
    const onUnfit = async (reason: UnfitError) => {
      this.#spawner = await this.#spawnInstead(reason);
      for (const directory of this.#directories) this.#spawner.guard(directory);
    };
    const server = new ForkServer(this.#locate, this.#settings, this.#wasReady, onGone, onUnfit);
    this.#server = server;
    server.ready.then(
      () => (this.#wasReady = true),
      () => {},
    );
    for (const directory of this.#directories) server.send({ do: "scratch", directory });
    return server;
  }
}
