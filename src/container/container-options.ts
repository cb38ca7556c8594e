/** The options of a container and of its instances, and their checks. */
import {
  check,
  checkOption,
  either,
  LAUNCH_RULES,
  LIMIT_RULES,
  milliseconds,
  oneOf,
  path,
  type Rule,
  type Rules,
  RETRY_DELAY_RULES,
  typed,
  wholeNumber,
} from "../option-rules.js";
import { type Limits, withoutUndefined } from "../options.js";
import { MAX_CONCURRENCY } from "../wire/protocol.js";
import type { SocketOptions } from "./listen-sockets.js";
import type { Policy } from "./policy.js";

/** Options of `new Container(options)`. */
export interface ContainerOptions {
  /** What is done when something becomes of an instance. @defaultValue a `Policy`, which warns of failures */
  readonly policy?: Policy | undefined;
  /** Listening sockets by name, opened once by the container and shared by all its instances. */
  readonly sockets?: Readonly<Record<string, SocketOptions>> | undefined;
  /** How children are started: `"fork"` where it can, else `"spawn"`; or `"thread"`. @defaultValue `"fork"` where it can, else `"spawn"` */
  readonly startMethod?: "fork" | "spawn" | "thread" | undefined;
  /** Environment of the children. @defaultValue this program's */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Working directory of the children. @defaultValue this program's */
  readonly cwd?: string | undefined;
  /** Options of Node for the children. @defaultValue this program's */
  readonly execArgv?: readonly string[] | undefined;
  /** `"inherit"`: children print to this program's own streams; `"tag"`: whole lines with name and num before each. @defaultValue `"inherit"` */
  readonly output?: "inherit" | "tag" | undefined;
}

/** Options of `new Controller(setup, options)`: those of its containers, and how they stop. */
export interface ControllerOptions extends ContainerOptions {
  /** How instances are stopped: the grace in ms; `true`: 10 s, `false`: at once. @defaultValue `true` */
  readonly graceful?: boolean | number | undefined;
}

/** Options of `container.spawn(service, options)`. */
export interface SpawnOptions {
  /** Name in messages, frames and process lists. @defaultValue the name of the class */
  readonly name?: string | undefined;
  /** Of instances with the same key, one lives at a time; `reload` goes by it. */
  readonly key?: string | undefined;
  /** Whether another child is started when one has ended: never, if it failed, or always. @defaultValue `"never"` */
  readonly restart?: "never" | "on-failure" | "always" | undefined;
  /**
   * The pause before a restart, in ms: `min`, each time `factor` times longer up to `max`, partly random. It begins anew once a child was
   * ready for `resetAfter` ms.
   * @defaultValue `{ min: 100, max: 30_000, factor: 2, resetAfter: 60_000 }`
   */
  readonly backoff?: Partial<BackoffOptions> | undefined;
  /** An instance is given up that would be restarted more often than `restarts` times within `within` ms. @defaultValue `{ restarts: 10, within: 60_000 }` */
  readonly intensity?: Partial<Intensity> | undefined;
  /** In ms: a child that is not ready by then is killed. Without it, only loading has a limit (30 s). @defaultValue none */
  readonly startupTimeout?: number | undefined;
  /** In ms: a child that is ready and gives no sign for so long is killed. @defaultValue none */
  readonly healthCheckTimeout?: number | undefined;
  /** Limits that the kernel enforces on each process. */
  readonly limits?: Limits | undefined;
  /** URL or path of the module that defines the service. @defaultValue found by itself */
  readonly module?: string | URL | undefined;
  /**
   * Whether a supervisor knows the instance: `true`, the `Supervisor` that was added to this container before; or the directory of any. Not for
   * instances in threads. See docs/supervisor.md.
   * @defaultValue `false`
   */
  readonly supervised?: boolean | string | undefined;
}

/** Options of `container.run(service, options)`. */
export interface RunOptions extends Omit<SpawnOptions, "key"> {
  /** How many instances. @defaultValue one for each processor */
  readonly count?: number | undefined;
  /** Threads in each process: each of them is an instance, whose `parent` is the process. */
  readonly threads?: number | undefined;
}

export interface BackoffOptions {
  readonly min: number;
  readonly max: number;
  readonly factor: number;
  readonly resetAfter: number;
}

export interface Intensity {
  readonly restarts: number;
  readonly within: number;
}

/** What an instance is kept by. */
export interface Keep {
  readonly restart: "never" | "on-failure" | "always";
  readonly backoff: BackoffOptions;
  readonly intensity: Intensity;
  readonly startupTimeout: number | undefined;
  readonly healthCheckTimeout: number | undefined;
}

const BACKOFF: BackoffOptions = { min: 100, max: 30_000, factor: 2, resetAfter: 60_000 };
const INTENSITY: Intensity = { restarts: 10, within: 60_000 };

export function keepOf(options: SpawnOptions): Keep {
  const { restart = "never", backoff = {}, intensity = {} } = options;
  return {
    restart,
    backoff: { ...BACKOFF, ...withoutUndefined(backoff) },
    intensity: { ...INTENSITY, ...withoutUndefined(intensity) },
    startupTimeout: options.startupTimeout,
    healthCheckTimeout: options.healthCheckTimeout,
  };
}

const text: Rule = {
  expected: "a string that is not empty",
  accepts: (value) => typeof value === "string" && value !== "",
};

const { module, env, cwd, execArgv } = LAUNCH_RULES;

const CONTAINER_RULES: Readonly<Record<keyof ContainerOptions, Rule | Rules>> = {
  policy: {
    expected: "an instance of Policy",
    accepts: (value) => typeof (value as Policy | null)?.exited === "function",
  },
  sockets: typed("object", "an object of sockets by name"),
  startMethod: oneOf("fork", "spawn", "thread"),
  env,
  cwd,
  execArgv,
  output: oneOf("inherit", "tag"),
};

const SPAWN_RULES: Readonly<Record<keyof SpawnOptions, Rule | Rules>> = {
  name: text,
  key: text,
  restart: oneOf("never", "on-failure", "always"),
  backoff: { ...RETRY_DELAY_RULES, resetAfter: milliseconds(0) },
  intensity: { restarts: wholeNumber(0, Number.MAX_SAFE_INTEGER), within: milliseconds(1) },
  startupTimeout: milliseconds(1),
  healthCheckTimeout: milliseconds(1),
  limits: LIMIT_RULES,
  module,
  supervised: either("a boolean", (value) => typeof value === "boolean", path),
};

const { key: _, ...WITHOUT_KEY } = SPAWN_RULES;
const RUN_RULES: Readonly<Record<keyof RunOptions, Rule | Rules>> = {
  ...WITHOUT_KEY,
  count: wholeNumber(1, MAX_CONCURRENCY),
  threads: wholeNumber(1, MAX_CONCURRENCY),
};

/** @throws TypeError that names the option, what was expected and what came */
export function checkContainerOptions(options: unknown): asserts options is ContainerOptions {
  check(options, CONTAINER_RULES, "", (name) => `Unknown option \`${name}\` of Container`);
}

/** @throws TypeError that names the option, what was expected and what came */
export function checkControllerOptions(options: unknown): void {
  const rules = { ...CONTAINER_RULES, graceful: GRACE };
  check(options, rules, "", (name) => `Unknown option \`${name}\` of Controller`);
}

/** @throws TypeError that names the option, what was expected and what came */
export function checkSpawnOptions(options: unknown): asserts options is SpawnOptions {
  check(options, SPAWN_RULES, "", (name) =>
    name === "count" || name === "threads"
      ? `The option \`${name}\` is one of \`run\``
      : unknown(name, "spawn"),
  );
}

/** @throws TypeError that names the option, what was expected and what came */
export function checkRunOptions(options: unknown): asserts options is RunOptions {
  check(options, RUN_RULES, "", (name) =>
    name === "key"
      ? "The option `key` is one of `spawn`: only one instance has it"
      : unknown(name, "run"),
  );
}

function unknown(name: string, method: string): string {
  return name in CONTAINER_RULES
    ? `The option \`${name}\` is one of \`new Container\``
    : `Unknown option \`${name}\` of \`${method}\``;
}

/** What `graceful` may be. */
export const GRACE: Rule = either(
  "a boolean",
  (value) => typeof value === "boolean",
  milliseconds(0),
);
/** The same as systemd-like supervisors give, and shorter than Docker's and Kubernetes' own. */
const DEFAULT_GRACE_MS = 10_000;

/** Returns the ms that an instance has to stop. @throws TypeError when it is neither a boolean nor ms */
export function graceOf(graceful: unknown): number {
  checkOption("graceful", graceful, GRACE);
  if (typeof graceful === "number") return graceful;
  return graceful ? DEFAULT_GRACE_MS : 0;
}

/** @throws TypeError unless it is a whole number from 1 */
export function checkMaxUnavailable(count: unknown): asserts count is number {
  checkOption("maxUnavailable", count, wholeNumber(1, MAX_CONCURRENCY));
}
