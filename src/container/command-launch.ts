/** The launch of a `CommandService`. What starts its programs is loaded when it is first needed. */
import type { ChildEvents } from "../launch/launcher.js";
import type { ServiceCommand } from "./command-service.js";
import type { ListenSockets } from "./listen-sockets.js";
import type { ProgramSettings, ProgramStarter } from "./program-starter.js";
import type { InstanceChild, InstanceStart, ServiceLaunch } from "./service-launch.js";

export class CommandLaunch implements ServiceLaunch {
  readonly kind = "command";
  readonly #command: ServiceCommand;
  readonly #settings: ProgramSettings;
  readonly #sockets: ListenSockets;
  #starter: ProgramStarter | undefined;

  constructor(command: ServiceCommand, settings: ProgramSettings, sockets: ListenSockets) {
    this.#command = command;
    this.#settings = settings;
    this.#sockets = sockets;
  }

  async ready(): Promise<void> {
    const { ProgramStarter } = await import("./program-starter.js");
    this.#starter ??= new ProgramStarter(this.#command, this.#settings, this.#sockets);
    await this.#starter.ready();
  }

  start(instance: InstanceStart, events: ChildEvents): InstanceChild {
    return this.#starter!.start(instance, events);
  }

  /** Programs are killed by this process itself. */
  abandon(): void {}

  async close(): Promise<void> {
    await this.#starter?.close();
  }
}
