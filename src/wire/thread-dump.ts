/** What a child tells of its threads: by itself, or interrupted by its supervisor through a connection for that alone. */

export interface ThreadDump {
  readonly threads: readonly ThreadState[];
  /** Why there may be more threads than these. */
  readonly reason?: string;
}

export interface ThreadState {
  /** `threadId` of node:worker_threads; 0 is the main thread. */
  readonly id: number;
  readonly name: string;
  /** `idle`: it waits for events. `blocked`: the main thread has not told this itself, but was interrupted. */
  readonly state: "idle" | "running" | "blocked" | "unknown";
  /** A line for each frame, from the innermost on. */
  readonly stack?: string;
  /** What keeps its event loop alive, by name: how many of each. */
  readonly resources?: Readonly<Record<string, number>>;
  /** Why there is no stack. */
  readonly reason?: string;
}

/** The line that an interrupted child writes for each byte that comes; it may have more fields. */
export interface StackLine {
  readonly stack: string;
  /** When it was taken, on the monotonic clock in ms. */
  readonly at: number;
  /** Why it could not be taken; then there is no time. */
  readonly reason?: string;
}

/** The longest such line; stacks are cut to fit. */
export const MAX_STACK_LINE_BYTES = 256 * 1024;
