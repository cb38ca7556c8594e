/** Creates the launcher of a `CommandWorker`'s programs, once the program is known to exist. */
import { ClosedError } from "../../errors.js";
import { DEFAULT_FORCE_KILL_AFTER_MS, type ParallelOptions } from "../../options.js";
import { assertAllowed } from "../../system/permission.js";
import type { Command } from "../../worker/command-worker.js";
import type { LaunchChoice, Launcher } from "../launcher.js";
import { assertRuns } from "../runtime.js";
import type { CommandLauncher } from "./command-launcher.js";

type LaunchOptions = Pick<
  ParallelOptions,
  "env" | "cwd" | "killSignal" | "forceKillAfterDelay" | "output"
>;

export class CommandChoice implements LaunchChoice {
  readonly reason = undefined;
  readonly #command: Command;
  readonly #options: LaunchOptions;
  #current: CommandLauncher | undefined;
  #opening: Promise<CommandLauncher> | undefined;
  #isClosed = false;

  constructor(command: Command, options: LaunchOptions) {
    this.#command = command;
    this.#options = options;
  }

  get current(): CommandLauncher | undefined {
    return this.#current;
  }

  async ready(): Promise<Launcher> {
    this.#opening ??= this.#open();
    try {
      return (this.#current = await this.#opening);
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  /** Runs again for each call until the program is found: the user may install it meanwhile. */
  async #open(): Promise<CommandLauncher> {
    assertRuns("program", undefined);
    assertAllowed("child", "starting processes");
    const { argv, env = this.#options.env, cwd = this.#options.cwd } = this.#command;
    const { killSignal = "SIGTERM", output = "inherit" } = this.#options;
    const { forceKillAfterDelay = DEFAULT_FORCE_KILL_AFTER_MS } = this.#options;
    const command = { argv, env: { ...(env ?? process.env) }, cwd };
    const { checkProgram } = await import("./find-program.js");
    checkProgram(command);
    const { CommandLauncher } = await import("./command-launcher.js");
    if (this.#isClosed) throw new ClosedError();
    const isAttributed = output !== "inherit";
    return new CommandLauncher({ ...command, killSignal, forceKillAfterDelay, isAttributed });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#current?.close();
  }
}
