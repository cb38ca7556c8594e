/** The base of monitors, and what one is given: the children that a supervisor knows, and what it may do with them. */

/** A supervised child, as monitors see it. Another child of the same num is another object. */
export interface SupervisedInstance {
  readonly num: number;
  readonly generation: number;
  /** Name of the worker whose pool the child is in; undefined for an instance of a container. */
  readonly pool: string | undefined;
  readonly name: string;
  readonly pid: number;
  /** How long it has been alive, in ms. */
  readonly age: number;
}

/** What a monitor is given when it runs. */
export interface MonitorContext {
  /** All supervised children that are alive. */
  readonly instances: readonly SupervisedInstance[];
  /** Pid of the program, whose descendants all of them are. */
  readonly programPid: number;
  /** The child finishes what it has, and another takes its place under its num. Harmless if that is under way. */
  replace(instance: SupervisedInstance, reason: string): void;
  /** What the child has noted last: `forkmap_event_loop_utilization` and the like, and the counters and gauges of its own. */
  metricsOf(instance: SupervisedInstance): ReadonlyMap<string, number>;
}

/**
 * Watches supervised instances: extend it and override `run`.
 *
 * @remarks
 * It runs in the supervisor's process, where its class is found as that of a service is, and its own fields travel as those of a service do. One that
 * throws is reported by a warning (`FORKMAP_MONITOR`) and in its status, and runs again after its interval; the others go on.
 *
 * @example
 * ```ts
 * import { Monitor, type MonitorContext } from "forkmap/supervisor";
 *
 * // Replaces what is a day old, if its event loop is not busy just now.
 * export class Daily extends Monitor {
 *   override readonly interval = 60_000;
 *
 *   override run({ instances, metricsOf, replace }: MonitorContext): void {
 *     for (const instance of instances) {
 *       const busy = metricsOf(instance).get("forkmap_event_loop_utilization") ?? 0;
 *       if (instance.age > 86_400_000 && busy < 0.5) replace(instance, "it is a day old");
 *     }
 *   }
 * }
 *
 * console.log(new Daily().interval); // 60000
 * ```
 */
export abstract class Monitor {
  /** Time between two runs, in ms. @defaultValue 10_000 */
  readonly interval: number = 10_000;

  /** A child has introduced itself to the supervisor. */
  register(_instance: SupervisedInstance): void {}

  /** A child has ended. */
  remove(_instance: SupervisedInstance): void {}

  /** Looks at the instances. The next run begins `interval` ms after this one has begun, and never before it has settled. */
  abstract run(context: MonitorContext): void | Promise<void>;

  /** What `client.call({ do: "status" })` shows of it, as a JSON value. */
  status(): object {
    return {};
  }
}
