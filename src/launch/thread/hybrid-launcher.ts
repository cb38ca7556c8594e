/**
 * Threads inside processes: a launcher on top of the launcher of the processes. Each thread is a slot of its own; slot
 * n is thread n % threads of process n / threads, its host. The host forwards messages both ways; the ledger and
 * overflow of a thread are files, as those of a process. A host is started with its first thread and ended some time
 * after its last.
 */
import type { ItemStore } from "../../wire/items.js";
import type { Ledger } from "../../wire/ledger.js";
import type { Start, StartRequest } from "../../wire/protocol.js";
import type { Child, ChildEvents, Launcher, Room, RoomOptions } from "../launcher.js";
import { HostHandle } from "./host-handle.js";

export class HybridLauncher implements Launcher {
  readonly #processes: Launcher;
  readonly #threads: number;
  readonly #startupTimeout: number;

  /** @param startupTimeout - of a thread, in ms */
  constructor(processes: Launcher, threads: number, startupTimeout: number) {
    this.#processes = processes;
    this.#threads = threads;
    this.#startupTimeout = startupTimeout;
  }

  get startMethod(): Launcher["startMethod"] {
    return this.#processes.startMethod;
  }

  get defaultConcurrency(): number {
    return this.#processes.defaultConcurrency;
  }

  get pids(): readonly number[] {
    return this.#processes.pids;
  }

  ready(): Promise<void> {
    return this.#processes.ready();
  }

  async makeRoom(options: RoomOptions): Promise<Room> {
    // Hosts have channels, even when each thread runs only one item.
    const room = await this.#processes.makeRoom({ ...options, hasChannels: true });
    return new HybridRoom(room, this.#threads, this.#startupTimeout);
  }

  close(): Promise<void> {
    return this.#processes.close();
  }
}

class HybridRoom implements Room {
  readonly #room: Room;
  readonly #threads: number;
  readonly #startupTimeout: number;
  readonly #hosts = new Map<number, HostHandle>();

  constructor(room: Room, threads: number, startupTimeout: number) {
    this.#room = room;
    this.#threads = threads;
    this.#startupTimeout = startupTimeout;
  }

  get directory(): string {
    return this.#room.directory;
  }

  get items(): ItemStore {
    return this.#room.items;
  }

  get descriptors(): number {
    return this.#room.descriptors ?? 0;
  }

  ledger(num: number): Ledger {
    return this.#room.ledger(num);
  }

  start({ id, start }: StartRequest, events: ChildEvents): Child {
    const { limits: _, ...own } = start;
    const host = this.#hostOf(start);
    const num = start.num % this.#threads;
    return host.start({ id, start: { ...own, num, cell: start.num } }, events);
  }

  async remove(): Promise<void> {
    await Promise.all(Array.from(this.#hosts.values(), (host) => host.close()));
    await this.#room.remove();
  }

  #hostOf(thread: Start): HostHandle {
    const num = Math.floor(thread.num / this.#threads);
    const known = this.#hosts.get(num);
    if (known) return known;
    const { directory, shape, limits } = thread;
    const host = new HostHandle(this.#room, this.#startupTimeout, (generation) => ({
      num,
      generation,
      directory,
      shape,
      name: `host-${num}-${generation}`,
      limits,
      isHost: true,
    }));
    this.#hosts.set(num, host);
    return host;
  }
}
