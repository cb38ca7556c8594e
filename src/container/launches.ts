/** The launches of a container's services: one for all instances of a service, replaced as a whole when the container is restarted. */
import { commandOf } from "./command-service.js";
import { CommandLaunch } from "./command-launch.js";
import type { ContainerOptions } from "./container-options.js";
import { stoppedMeanwhile } from "./rolling-restart.js";
import type { ListenSockets } from "./listen-sockets.js";
import { withoutNotify } from "./notify.js";
import type { Service } from "./service.js";
import { launchOf, type ServiceLaunch } from "./service-launch.js";
import type { ServiceSlot, SlotOptions } from "./service-slot.js";

/** Returns what starts the children of a service; for tests and for threads inside an instance. */
export type MakeLaunch = (options: SlotOptions) => ServiceLaunch;

export class Launches {
  readonly #make: MakeLaunch;
  readonly #areThreads: boolean;
  readonly #current = new Map<Service, ServiceLaunch>();
  /** Those that start no more children, and have some that live. */
  readonly #retired = new Set<ServiceLaunch>();
  /** Those of a restart that is under way. */
  #fresh: readonly ServiceLaunch[] = [];
  /** Those that have had a child. */
  readonly #proven = new WeakSet<Service>();
  readonly #closing = new Set<Promise<void>>();
  readonly #closed = new WeakSet<ServiceLaunch>();
  #renewing: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: ContainerOptions, sockets: ListenSockets, make?: MakeLaunch) {
    const { startMethod, cwd, execArgv, output } = options;
    const env = withoutNotify({ ...(options.env ?? process.env) });
    const settings = { startMethod, env, cwd, execArgv, output };
    this.#areThreads = make !== undefined || startMethod === "thread";
    this.#make =
      make ??
      (({ service, module, supervision, keep: { startupTimeout } }) => {
        const command = commandOf(service);
        if (command) return new CommandLaunch(command, settings, sockets);
        return launchOf(service, { ...settings, module, startupTimeout, supervision }, sockets);
      });
  }

  /** Whether instances are threads of this program. */
  get areThreads(): boolean {
    return this.#areThreads;
  }

  of(options: SlotOptions): ServiceLaunch {
    let launch = this.#current.get(options.service);
    if (!launch) this.#current.set(options.service, (launch = this.#make(options)));
    return launch;
  }

  /** A child of the service runs: its class was found and loaded. */
  started({ service }: SlotOptions): void {
    this.#proven.add(service);
  }

  hasRun({ service }: SlotOptions): boolean {
    return this.#proven.has(service);
  }

  /**
   * Makes new launches for the services of all slots, and uses them from now on; if `replace` fails, the old ones again. A call waits for
   * the one before.
   *
   * @param all - the slots there are, at any time
   * @param replace - is given those that are to go on
   * @throws what kept a new launch from getting ready, or what `replace` threw
   */
  async renew(
    all: Iterable<ServiceSlot>,
    replace: (slots: readonly ServiceSlot[]) => Promise<void>,
  ): Promise<void> {
    const turn = this.#renewing.then(() => this.#renew(all, replace));
    this.#renewing = turn.catch(() => {});
    await turn;
  }

  async #renew(
    all: Iterable<ServiceSlot>,
    replace: (slots: readonly ServiceSlot[]) => Promise<void>,
  ): Promise<void> {
    const slots = Array.from(all).filter(({ isWanted }) => isWanted);
    const fresh = new Map<Service, ServiceLaunch>();
    for (const { options } of slots) {
      if (!fresh.has(options.service)) fresh.set(options.service, this.#make(options));
    }
    this.#fresh = [...fresh.values()];
    const old = new Map([...this.#current].filter(([service]) => fresh.has(service)));
    try {
      await Promise.all(this.#fresh.map((launch) => launch.ready()));
      this.#use(fresh);
      await replace(slots);
      for (const launch of old.values()) this.#retired.add(launch);
    } catch (error) {
      this.#use(old);
      for (const launch of fresh.values()) this.#retired.add(launch);
      // One that is closed while it gets ready fails in words of its own.
      throw this.#isClosed ? stoppedMeanwhile() : error;
    } finally {
      this.#fresh = [];
      // Not only these: others may have started since, from the old launches.
      this.sweep(all);
    }
  }

  /** No instance of the service is left. */
  drop({ service }: SlotOptions): void {
    const launch = this.#current.get(service);
    this.#current.delete(service);
    if (launch) this.#close(launch);
  }

  /** Closes launches that are of no use any more. @param slots - all that may have a child */
  sweep(slots: Iterable<ServiceSlot>): void {
    const used = new Set(Array.from(slots, ({ launch }) => launch));
    for (const launch of this.#retired) {
      if (used.has(launch)) continue;
      this.#retired.delete(launch);
      this.#close(launch);
    }
  }

  /** Called when no child is alive. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = new Set([...this.#current.values(), ...this.#retired, ...this.#fresh]);
    for (const launch of all) this.#close(launch);
    this.#current.clear();
    this.#retired.clear();
    await Promise.all(this.#closing);
  }

  #use(launches: ReadonlyMap<Service, ServiceLaunch>): void {
    for (const [service, launch] of launches) {
      // All its instances may have ended meanwhile, and others been started since.
      if (this.#closed.has(launch)) continue;
      if (this.#current.has(service)) this.#current.set(service, launch);
      else this.#retired.add(launch);
    }
  }

  #close(launch: ServiceLaunch): void {
    this.#closed.add(launch);
    const closing = launch.close().catch(() => {});
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }
}
