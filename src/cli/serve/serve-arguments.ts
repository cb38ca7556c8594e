/** The command line of `forkmap serve`: what it accepts, and what its values mean. */
import { parseArgs } from "node:util";
import { MAX_DELAY_MS } from "../../wire/protocol.js";
import { UsageError } from "../cli-command.js";

const HEALTH_HOST = "127.0.0.1";
const MAX_PORT = 65_535;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ServeArguments {
  /** Paths, at least one. */
  readonly modules: readonly string[];
  /** Loaded before them, here and in children. */
  readonly imports: readonly string[];
  readonly health: Address | undefined;
  /** Options of `QueueWorker`; those that are not given have its own defaults. */
  readonly options: {
    readonly queues?: readonly string[];
    readonly processes?: number;
    readonly fibers?: number;
    readonly prefetch?: number;
    readonly connection?: string;
    readonly prefix?: string;
    readonly pool?: boolean;
    readonly timeout?: number;
    readonly supervised?: string;
  };
}

/** @throws UsageError */
export function readArguments(args: readonly string[]): ServeArguments {
  const { values, positionals } = parse(args);
  if (positionals.length === 0) {
    throw new UsageError("expected a module that exports workers, as in forkmap serve worker.ts");
  }
  if (values.pool && values["no-pool"])
    throw new UsageError("--pool and --no-pool exclude each other");
  const count = (name: "processes" | "fibers" | "prefetch" | "timeout", most?: number) =>
    values[name] === undefined ? {} : { [name]: wholeOf(name, values[name], most) };
  const text = (name: "connection" | "prefix" | "supervised") =>
    values[name] === undefined ? {} : { [name]: textOf(name, values[name]) };
  return {
    modules: positionals,
    imports: (values.import ?? []).map((each) => textOf("import", each)),
    health: values.health === undefined ? undefined : addressOf(values.health),
    options: {
      ...(values.queue && { queues: values.queue.map((each) => textOf("queue", each)) }),
      ...count("processes"),
      ...count("fibers"),
      ...count("prefetch"),
      ...count("timeout", MAX_DELAY_MS),
      ...text("connection"),
      ...text("prefix"),
      ...text("supervised"),
      ...(values.pool && { pool: true }),
      ...(values["no-pool"] && { pool: false }),
    },
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        queue: { type: "string", multiple: true },
        processes: { type: "string" },
        fibers: { type: "string" },
        prefetch: { type: "string" },
        connection: { type: "string" },
        prefix: { type: "string" },
        pool: { type: "boolean", default: false },
        // `allowNegative` came with Node 22.
        "no-pool": { type: "boolean", default: false },
        timeout: { type: "string" },
        health: { type: "string" },
        supervised: { type: "string" },
        import: { type: "string", multiple: true },
      },
    });
  } catch (error) {
    // Only the first sentence: the advice after it does not apply here.
    throw new UsageError((error as Error).message.split(/\.\s/, 1)[0]!.replaceAll("\n", " "));
  }
}

function wholeOf(name: string, text: string, most = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
  const limit = most === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${most}`;
  throw new UsageError(`--${name} ${text} is not a whole number of at least 1${limit}`);
}

function textOf(name: string, text: string): string {
  if (text !== "") return text;
  throw new UsageError(`--${name} has an empty value`);
}

/** @param text - a port, or a host and a port: `8080`, `0.0.0.0:8080`, `[::]:8080` */
function addressOf(text: string): Address {
  const [, bracketed, name, digits] = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d+)$/.exec(text) ?? [];
  const port = Number(digits);
  if (port <= MAX_PORT) return { host: bracketed ?? name ?? HEALTH_HOST, port };
  throw new UsageError(
    `--health ${text} is not a port, or a host and a port, as in --health 8080 or --health 0.0.0.0:8080`,
  );
}
