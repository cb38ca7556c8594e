/**
 * The choices of a launcher (for processes, programs, threads), each loaded with the first call. A child imports this package
 * with its worker's module but rarely starts children of its own.
 */
import type { ParallelOptions } from "../options.js";
import type { Command } from "../worker/command-worker.js";
import type { DeferredLaunch, LaunchChoice, Launcher, ServiceOptions } from "./launcher.js";

type Options = ParallelOptions<never, never> & ServiceOptions;

export function processChoice(worker: object, options: Options): DeferredLaunch {
  return new DeferredChoice(async () => {
    const { ProcessChoice } = await import("./process-choice.js");
    return new ProcessChoice(worker, options);
  });
}

export function commandChoice(command: Command, options: Options): DeferredLaunch {
  return new DeferredChoice(async () => {
    const { CommandChoice } = await import("./program/command-choice.js");
    return new CommandChoice(command, options);
  });
}

export function threadChoice(worker: object, options: Options): DeferredLaunch {
  return new DeferredChoice(async () => {
    const { ThreadChoice } = await import("./thread/thread-choice.js");
    return new ThreadChoice(worker, options);
  });
}

class DeferredChoice implements DeferredLaunch {
  readonly #load: () => Promise<LaunchChoice>;
  #loading: Promise<LaunchChoice> | undefined;
  #choice: LaunchChoice | undefined;

  constructor(load: () => Promise<LaunchChoice>) {
    this.#load = load;
  }

  get current(): Launcher | undefined {
    return this.#choice?.current;
  }

  get reason(): string | undefined {
    return this.#choice?.reason;
  }

  async load(): Promise<void> {
    this.#loading ??= this.#load();
    try {
      this.#choice = await this.#loading;
    } catch (error) {
      this.#loading = undefined;
      throw error;
    }
  }

  async ready(): Promise<Launcher> {
    await this.load();
    return await this.#choice!.ready();
  }

  async close(): Promise<void> {
    const choice = await this.#loading?.catch(() => undefined);
    await choice?.close();
  }
}
