/**
 * CommandWorker: a worker that is a program in any language. It names the program; launch/program/ talks to it, and
 * docs/protocol.md describes the protocol for authors of programs.
 */
import { describe } from "../system/describe.js";
import { AnyWorker, type TaskContext } from "./worker.js";

/** Which program a `CommandWorker` runs. */
export interface Command {
  /** The program and its arguments, not empty. No shell is involved. */
  readonly argv: readonly string[];
  /** The program's whole environment, to which `FORKMAP_NUM`, `FORKMAP_GENERATION` and `FORKMAP_SCRATCH` are added. @defaultValue the option `env` of `Parallel` */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** The program's working directory; a relative path of the program is resolved there. @defaultValue the option `cwd` of `Parallel` */
  readonly cwd?: string | undefined;
}

/**
 * A worker that is a program in any language: it is kept warm and receives one item after the other as lines of JSON.
 *
 * @remarks
 * The program reads a request per line from stdin and writes an answer per line to stdout; docs/protocol.md
 * specifies both. `Parallel` keeps a pool of programs (`pool`: one for each processor by default; `pool: false` starts
 * a new one for each item), and limits an item to 10 minutes (`timeout`: 600000). Options that only apply to Node
 * children are refused: `threads`, `startMethod`, `module`, `execArgv`, `startupTimeout`, `limits`, and `pool: 0`.
 *
 * @typeParam Item - what is sent as `payload`: any JSON value
 * @typeParam Result - what comes back as `result`: any JSON value, `null` when the program returns none; a string or
 * `Uint8Array` when the program names a file
 *
 * @throws TypeError when `argv` is empty or not strings, `env` or `cwd` is invalid, or a subclass has hooks
 *
 * @example
 * ```ts
 * import { CommandWorker, Parallel } from "forkmap";
 *
 * const script = `
 * import json, sys
 * for line in sys.stdin:
 *     request = json.loads(line)
 *     result = request["payload"].upper()
 *     print(json.dumps({"id": request["id"], "status": "ok", "result": result}), flush=True)
 * `;
 * const upper = new CommandWorker<string, string>({ argv: ["python3", "-c", script] });
 * const parallel = new Parallel(upper, { pool: 2 });
 * console.log(await parallel.mapProcesses(["warm", "programs"])); // [ 'WARM', 'PROGRAMS' ]
 * await parallel.close();
 * ```
 */
export class CommandWorker<Item = unknown, Result = unknown>
  extends AnyWorker<Item, Result>
  implements Command
{
  /** @internal Its results are JSON values. */
  static readonly resultFormat = "json";
  /** @internal Read by name, not by `instanceof`: two copies of this package may meet in one process. */
  static readonly isCommand = true;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;

  constructor(command: Command) {
    super();
    checkCommand(command, "CommandWorker");
    this.#checkHooks();
    const { argv, env, cwd } = command;
    this.argv = [...argv];
    if (env !== undefined) this.env = { ...env };
    if (cwd !== undefined) this.cwd = cwd;
  }

  /** @throws TypeError when a subclass overrides a hook, which would never be called */
  #checkHooks(): void {
    for (const name of ["preload", "setup", "process", "teardown"] as const) {
      if (this[name] === CommandWorker.prototype[name]) continue;
      throw new TypeError(
        `${this.constructor.name} cannot have ${name}(): a CommandWorker runs a program, which must do this work itself`,
      );
    }
  }

  /** Never called by `Parallel`: the program processes the items. @throws TypeError always */
  override process(_item: Item, _task: TaskContext): Result {
    throw new TypeError(
      `process() of a CommandWorker cannot be called directly: run ${this.argv[0]} with new Parallel(worker).mapProcesses(items)`,
    );
  }
}

/** Returns the program of a `CommandWorker`; `undefined` for any other worker. */
export function commandOf(worker: object): Command | undefined {
  const isCommand = (worker.constructor as { isCommand?: unknown }).isCommand === true;
  return isCommand ? (worker as unknown as Command) : undefined;
}

/** @param kind - the name of the class, for messages. @throws TypeError that names what is wrong */
export function checkCommand(command: unknown, kind: string): asserts command is Command {
  if (typeof command !== "object" || command === null) {
    throw new TypeError(`Expected { argv } of a ${kind}, got ${describe(command)}`);
  }
  const { argv, env, cwd, ...rest } = command as Record<string, unknown>;
  for (const name of Object.keys(rest)) {
    throw new TypeError(
      `Unknown option \`${name}\` of ${kind}. There are: argv, env, cwd. Others are options of ${kind === "CommandWorker" ? "new Parallel(worker, options)" : "the container or of its instances"}`,
    );
  }
  if (!Array.isArray(argv) || argv.length === 0 || argv[0] === "") {
    const got = Array.isArray(argv) && argv.length === 0 ? "an empty array" : describe(argv);
    throw new TypeError(
      `Expected \`argv\` of a ${kind} to be a program and its arguments, such as ["ruby", "worker.rb"], got ${argv?.[0 as never] === "" ? "an empty name" : got}`,
    );
  }
  for (const [i, each] of argv.entries()) {
    if (isArgument(each)) continue;
    throw new TypeError(
      `Expected \`argv[${i}]\` of a ${kind} to be a string without NUL, got ${describe(each)}`,
    );
  }
  if (cwd !== undefined && !(isArgument(cwd) && cwd !== "")) {
    throw new TypeError(
      `Expected \`cwd\` of a ${kind} to be a path that is not empty, got ${describe(cwd)}`,
    );
  }
  if (env === undefined) return;
  const isRecord = typeof env === "object" && env !== null && !Array.isArray(env);
  if (!isRecord || !Object.values(env).every((each) => each === undefined || isArgument(each))) {
    throw new TypeError(
      `Expected \`env\` of a ${kind} to be an object of strings, got ${describe(env)}`,
    );
  }
}

function isArgument(value: unknown): value is string {
  return typeof value === "string" && !value.includes("\0");
}
