/** What a program does when something becomes of an instance: hooks of a container. */
import { ParallelError } from "../errors.js";
import { monotonic } from "../system/monotonic.js";
import { setImmediate } from "../system/timers.js";
import type { Container } from "./container.js";
import type { InstanceEnd, InstanceInfo } from "./instance-info.js";

/** A clock that ran out. */
export interface ClockInfo {
  /** How long the instance has been starting, or has given no sign of health, in ms. */
  readonly age: number;
  /** The option, in ms. */
  readonly timeout: number;
}

/**
 * The hooks of a container: extend it to log, count, alarm or stop. The hooks of this class itself warn (`FORKMAP_INSTANCE`).
 *
 * @remarks
 * Hooks are called in the program, in the order of events. One that throws or rejects is warned of (`FORKMAP_POLICY`), and changes nothing else.
 *
 * @example
 * ```ts
 * import { Container, type InstanceEnd, type InstanceInfo, Policy } from "forkmap/container";
 *
 * class Log extends Policy {
 *   override exited(_container: Container, { name, num }: InstanceInfo, end: InstanceEnd): void {
 *     console.error(`${name} num ${num}: ${end.how}`);
 *   }
 * }
 *
 * const container = new Container({ policy: new Log() });
 * await container.stop();
 * ```
 */
export class Policy {
  /** A child was started for the instance. */
  spawned(_container: Container, _instance: InstanceInfo): void | Promise<void> {}

  /** The instance has told that it is ready. */
  ready(_container: Container, _instance: InstanceInfo): void | Promise<void> {}

  /** The instance is asked to finish what it has, and another child takes its place: a supervisor has found it unhealthy, or was told to. */
  replacing(_container: Container, instance: InstanceInfo, reason: string): void | Promise<void> {
    warn(`${inWords(instance)} is replaced: ${reason}`);
  }

  /** The child of the instance has ended; `end` tells how, and whether another follows. */
  exited(_container: Container, instance: InstanceInfo, end: InstanceEnd): void | Promise<void> {
    if (end.wasKilled) warn(`${inWords(instance)} was killed: ${end.how}`);
    if (end.isFailure || end.isGivenUp)
      warn(`${inWords(instance)} ended: ${end.how}. ${whatFollows(end)}`);
  }

  /** The instance has given no sign of health for longer than `healthCheckTimeout`, and is killed. */
  healthCheckFailed(
    _container: Container,
    instance: InstanceInfo,
    clock: ClockInfo,
  ): void | Promise<void> {
    warn(
      `${inWords(instance)} is killed: it has given no sign of health for ${Math.round(clock.age)} ms (\`healthCheckTimeout\`: ${clock.timeout})`,
    );
  }

  /** The instance was not ready within `startupTimeout`, and is killed. */
  startFailed(
    _container: Container,
    instance: InstanceInfo,
    clock: ClockInfo,
  ): void | Promise<void> {
    warn(
      `${inWords(instance)} is killed: it was not ready after ${Math.round(clock.age)} ms (\`startupTimeout\`: ${clock.timeout})`,
    );
  }
}

/**
 * A policy that stops the container when its instances fail too often, so that whoever runs the program learns of it.
 *
 * @example
 * ```ts
 * import { Container, FailureRatePolicy } from "forkmap/container";
 *
 * const container = new Container({ policy: new FailureRatePolicy({ failures: 10, within: 60_000 }) });
 * await container.stop();
 * ```
 */
export class FailureRatePolicy extends Policy {
  readonly #failures: number;
  readonly #within: number;
  readonly #times: number[] = [];

  /**
   * @param limit - `failures`: this many are too many; `within`: in so many ms
   * @throws TypeError when a number is not positive
   */
  constructor({ failures, within }: { readonly failures: number; readonly within: number }) {
    super();
    for (const [name, value] of Object.entries({ failures, within })) {
      if (typeof value === "number" && value > 0) continue;
      throw new TypeError(`Expected \`${name}\` to be a number above 0, got ${String(value)}`);
    }
    this.#failures = failures;
    this.#within = within;
  }

  override async exited(
    container: Container,
    instance: InstanceInfo,
    end: InstanceEnd,
  ): Promise<void> {
    await super.exited(container, instance, end);
    if (!end.isFailure) return;
    const now = monotonic();
    this.#times.push(now);
    while (this.#times.length > 0 && this.#times[0]! < now - this.#within) this.#times.shift();
    if (this.#times.length < this.#failures) return;
    this.#times.length = 0;
    warn(
      `The container is stopped: its instances failed ${this.#failures} times within ${this.#within} ms`,
    );
    await container.stop();
  }
}

function whatFollows({ restartIn, isGivenUp, error }: InstanceEnd): string {
  if (restartIn !== undefined) return `It is restarted in ${Math.round(restartIn)} ms`;
  if (!isGivenUp) return "It is not restarted";
  // An error of this package itself, and not one that an instance has told.
  const isUnstartable = error instanceof ParallelError;
  return isUnstartable
    ? "It is given up: no other child could be started either"
    : "It was restarted too often and is given up";
}

function inWords({ name, num, pid }: InstanceInfo): string {
  return `${name} num ${num}${pid === undefined ? "" : ` (pid ${pid})`}`;
}

/** What several instances meet at once, such as a module that cannot be loaded, is told once. */
let told = new Set<string>();

function warn(message: string): void {
  const what = message.replace(/ num \d+/, "");
  if (told.has(what)) return;
  if (told.size === 0) setImmediate(() => (told = new Set()));
  told.add(what);
  process.emitWarning(message, { type: "ForkmapWarning", code: "FORKMAP_INSTANCE" });
}
