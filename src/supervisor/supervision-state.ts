/**
 * What a supervisor shows: the state of all instances and monitors at one time, and what has happened since the last; and where a dashboard
 * gets it.
 */

/** Everything at one time. */
export interface SupervisionState {
  /** In ms since the epoch. */
  readonly time: number;
  readonly instances: readonly InstanceState[];
  readonly monitors: readonly MonitorStatus[];
  /** Where metrics are served: a URL, or the path of a Unix socket. Undefined while they are not. */
  readonly metrics?: string | undefined;
  /** Since the state before, oldest first; in the first state the recent ones. */
  readonly events: readonly SupervisionEvent[];
}

/** One instance of a container, or a child of a pool. */
export interface InstanceState {
  readonly num: number;
  /** Name of the worker whose pool the child is in; undefined for an instance of a container. */
  readonly pool?: string;
  readonly name: string;
  readonly generation: number;
  readonly pid?: number;
  readonly state: "starting" | "ready" | "stopping" | "waiting" | "ended";
  /** The text that it has told last; empty before. */
  readonly status: string;
  /** How long its child has been alive, in ms. */
  readonly age: number;
  readonly restarts: number;
  readonly failures: number;
  /** How its last child has ended, in words. */
  readonly lastEnd?: string;
  /** Whether its child answers the supervisor: without that, it can neither show its stacks nor its heap. */
  readonly isSupervised: boolean;
  /** It is the supervisor itself, which a restart of all leaves out. */
  readonly isSupervisor?: true;
  /** Its share of memory (PSS), in bytes. */
  readonly memory?: number;
  /** Since the sample before, as a fraction of one processor. */
  readonly cpu?: number;
  /** Of its event loop, 0 to 1. */
  readonly utilization?: number;
  /** Of its event loop, in ms. */
  readonly delay?: number;
  readonly inFlight?: number;
  /** How many it has done. */
  readonly items?: number;
}

/** One monitor, as JSON. */
export interface MonitorStatus {
  /** Name of its class. */
  readonly name: string;
  /** In ms. */
  readonly interval: number;
  /** How often it has begun to run. */
  readonly runs: number;
  /** When the last run began, in ms since 1970; undefined before the first. */
  readonly lastRun: number | undefined;
  /** What it has failed with last, until it runs without failing; or that it hangs. */
  readonly error?: string;
  /** What its `status()` has returned; undefined if that failed. */
  readonly status: unknown;
}

/** Something that has happened to an instance. */
export interface SupervisionEvent {
  /** In ms since the epoch. */
  readonly time: number;
  readonly num: number;
  readonly pool?: string;
  readonly name: string;
  readonly what: "started" | "ready" | "ended" | "replaced" | "note";
  readonly text: string;
}

/** What a dashboard shows, and what its buttons do. */
export interface DashboardSource {
  /** Yields the state now, then about once a second and at once after a change, until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<SupervisionState>;
  /** `restart`, `thread_dump` or `memory_dump`, which gives its text to `onChunk` in pieces and waits for each. */
  call(
    operation: { readonly do: string } & Record<string, unknown>,
    target: { num?: number; pool?: string },
    options: { onChunk?(text: string): Promise<void>; signal?: AbortSignal; timeout?: number },
  ): Promise<unknown>;
}
