/** A service that is a program in any language. */
import { describe } from "../system/describe.js";
import { checkCommand } from "../worker/command-worker.js";
import { Service } from "./service.js";

/** Which program a `CommandService` runs. */
export interface ServiceCommand {
  /** The program and its arguments, not empty. No shell reads them. */
  readonly argv: readonly string[];
  /** The program's whole environment, to which those of the protocol are added. @defaultValue the option `env` of the container */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** The program's working directory. @defaultValue the option `cwd` of the container */
  readonly cwd?: string | undefined;
}

/**
 * A service that is a program in any language: it is started, watched and restarted as any instance.
 *
 * @remarks
 * It tells how it is as programs of async-container do: lines of JSON such as `{"ready":true}`, `{"healthy":true}`, `{"status":"text"}` to the descriptor
 * whose number is in `NOTIFY_PIPE`; or as services of systemd do, by datagrams to `NOTIFY_SOCKET`. It finds the container's sockets as those of systemd:
 * `LISTEN_FDS`, `LISTEN_FDNAMES`. `FORKMAP_NUM` and `FORKMAP_GENERATION` say which instance it is. It is asked to stop by SIGINT.
 *
 * @throws TypeError when `argv` is empty or not strings, or `env` or `cwd` is wrong
 *
 * @example
 * ```ts
 * import { CommandService, Container } from "forkmap/container";
 *
 * const script = `echo '{"ready":true}' >&"$NOTIFY_PIPE"; exec sleep 60`;
 * const container = new Container();
 * container.spawn(new CommandService({ argv: ["sh", "-c", script] }), { name: "sleeper" });
 * await container.waitUntilReady();
 * await container.stop();
 * ```
 */
export class CommandService extends Service {
  /** @internal Read by name, not by `instanceof`: two copies of this package may meet in one process. */
  static readonly isCommand = true;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;

  constructor(command: ServiceCommand) {
    super();
    checkCommand(command, "CommandService");
    const { argv, env, cwd } = command;
    this.argv = [...argv];
    if (env !== undefined) this.env = { ...env };
    if (cwd !== undefined) this.cwd = cwd;
  }

  /** Never called by a container: the program does the work. @throws TypeError always */
  override run(): void {
    throw new TypeError(
      `run() of a CommandService cannot be called directly: give it to a Container, which starts ${describe(this.argv[0])}`,
    );
  }
}

/** Returns the program of a `CommandService`; `undefined` for any other service. */
export function commandOf(service: object): ServiceCommand | undefined {
  const isCommand = (service.constructor as { isCommand?: unknown }).isCommand === true;
  return isCommand ? (service as unknown as ServiceCommand) : undefined;
}
