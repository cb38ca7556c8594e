/**
 * Every error this library throws, each with a stable `code`. A failed item is an `ItemError` or a subclass and names
 * the item, slot, child and attempt; bad arguments are plain `TypeError`s.
 */

/** Resources a child used. */
export interface Usage {
  /** CPU time in user code, in ms. */
  readonly userCpu: number;
  /** CPU time in the kernel, in ms. */
  readonly systemCpu: number;
  /** Largest resident memory, in bytes; includes memory shared with the fork server. */
  readonly peakMemory: number;
}

/** Where and when an item ran. */
export interface ItemFacts {
  /** Position of the item in the input. */
  readonly index: number;
  /** Number of the slot it ran in. */
  readonly num: number;
  /** Process id of the child, `undefined` when none was started. */
  readonly pid: number | undefined;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Time from the start of the attempt to its end, in ms. */
  readonly duration: number;
  /** Resources the child used, for all its items; only if it ended with this item and the system reports them. */
  readonly usage: Usage | undefined;
  /** What the item printed, with `output: "collect"`. */
  readonly stdout?: string | undefined;
  readonly stderr?: string | undefined;
  /** Name of the machine it ran on, with an `engine`. */
  readonly machine?: string | undefined;
}

/** The errors this library has created. Unlike `instanceof`, a lookup runs no code of a proxy that the user throws. */
const ours = new WeakSet<object>();

/** The base of all errors of this library; `code` is stable, the message is not. */
export class ParallelError extends Error {
  static {
    this.prototype.name = "ParallelError";
  }
  /** Stable identifier, `ERR_PARALLEL_...`. */
  readonly code: string;
  /** On the error a call ends with: all other errors so far, in the order of the items. Not enumerable. */
  declare readonly errors?: readonly Error[];
  /** On the error a call ends with: the results so far, by index; `undefined` for items without one. Not enumerable. */
  declare readonly results?: readonly unknown[];

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    ours.add(this);
    this.code = code;
  }
}

/** An item failed. This class itself: `process` threw, and `cause` is what it threw. Other failures are subclasses. */
export class ItemError extends ParallelError implements ItemFacts {
  static {
    this.prototype.name = "ItemError";
  }
  readonly index: number;
  readonly num: number;
  readonly pid: number | undefined;
  readonly attempt: number;
  readonly duration: number;
  readonly usage: Usage | undefined;
  /** What the item printed on stdout, with `output: "collect"`: the last MiB. Not enumerable. */
  declare readonly stdout?: string | undefined;
  /** The same of stderr. */
  declare readonly stderr?: string | undefined;
  /** Name of the machine it ran on, with an `engine`. */
  declare readonly machine?: string | undefined;

  constructor(
    facts: ItemFacts,
    what: string,
    options: ErrorOptions = {},
    code = "ERR_PARALLEL_ITEM",
  ) {
    super(code, `Item ${facts.index} ${what}${where(facts)}`, options);
    this.index = facts.index;
    this.num = facts.num;
    this.pid = facts.pid;
    this.attempt = facts.attempt;
    this.duration = facts.duration;
    this.usage = facts.usage;
    for (const name of ["stdout", "stderr"] as const) {
      if (facts[name] === undefined) continue;
      Object.defineProperty(this, name, { value: facts[name], writable: true, configurable: true });
    }
  }
}

function where({ num, pid, attempt }: ItemFacts): string {
  const tries = attempt > 1 ? `, attempt ${attempt}` : "";
  return pid === undefined ? ` (num ${num}${tries})` : ` (num ${num}, pid ${pid}${tries})`;
}

/** How a child ended. */
export interface Death {
  /** Exit code, `undefined` when a signal ended it. */
  readonly exitCode: number | undefined;
  /** Name of the signal that ended it, such as `"SIGKILL"`. */
  readonly signal: string | undefined;
  /** Whether the facts point to memory: the kernel's out-of-memory killer, V8's heap limit or `limits.memory`. */
  readonly probablyOutOfMemory: boolean;
}

/** The child ended before the item had a result. `cause` is the uncaught error, if there was one. */
export class DeadChildError extends ItemError implements Death {
  static {
    this.prototype.name = "DeadChildError";
  }
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly probablyOutOfMemory: boolean;

  constructor(facts: ItemFacts, death: Death, what: string, options?: ErrorOptions) {
    super(facts, what, options, "ERR_PARALLEL_CHILD_DIED");
    this.exitCode = death.exitCode;
    this.signal = death.signal;
    this.probablyOutOfMemory = death.probablyOutOfMemory;
  }
}

/** The item took longer than `timeout`; its child was killed. */
export class ItemTimeoutError extends ItemError {
  static {
    this.prototype.name = "ItemTimeoutError";
  }
  /** The limit, in ms. */
  readonly timeout: number;
  constructor(facts: ItemFacts, timeout: number, more = "") {
    super(facts, `timed out after ${timeout} ms${more}`, {}, "ERR_PARALLEL_TIMEOUT");
    this.timeout = timeout;
  }
}

/** `process` returned a value of a type that its worker cannot return. */
export class ResultTypeError extends ItemError {
  static {
    this.prototype.name = "ResultTypeError";
  }
  constructor(facts: ItemFacts, expected: string, got: string) {
    super(facts, `returned ${got}, expected ${expected}`, {}, "ERR_PARALLEL_RESULT_TYPE");
  }
}

/** The child violated the protocol and was killed: a program, or a worker that damaged its own process. */
export class ProtocolError extends ItemError {
  static {
    this.prototype.name = "ProtocolError";
  }
  /** What the child did, and what was expected. */
  readonly reason: string;
  constructor(facts: ItemFacts, reason: string, more = "") {
    super(facts, `failed: ${reason}${more}`, {}, "ERR_PARALLEL_PROTOCOL");
    this.reason = reason;
  }
}

/** No child could be started for the item; its `process` has not run. */
export class StartError extends ItemError {
  static {
    this.prototype.name = "StartError";
  }
  constructor(facts: ItemFacts, why: string, options?: ErrorOptions) {
    super(facts, `could not be started: ${why}`, options, "ERR_PARALLEL_START");
  }
}

/** Children cannot be started at all (a bad `cwd`, `startMethod: "fork"` where fork is not possible). */
export class LaunchError extends ParallelError {
  static {
    this.prototype.name = "LaunchError";
  }
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_PARALLEL_LAUNCH", message, options);
  }
}

/** The worker's class could not be found or its module could not be loaded in another process. */
export class WorkerModuleError extends ParallelError {
  static {
    this.prototype.name = "WorkerModuleError";
  }
  /** URL of the module. */
  readonly module: string;
  constructor(module: string, message: string, options?: ErrorOptions) {
    super("ERR_PARALLEL_WORKER_MODULE", message, options);
    this.module = module;
  }
}

/** The journal cannot be used: it belongs to another run, is in use, is damaged, or cannot be written. */
export class JournalError extends ParallelError {
  static {
    this.prototype.name = "JournalError";
  }
  /** The directory of the journal. */
  readonly directory: string;
  constructor(directory: string, message: string, options?: ErrorOptions) {
    super("ERR_PARALLEL_JOURNAL", message, options);
    this.directory = directory;
  }
}

/** The `Parallel` was closed or destroyed. */
export class ClosedError extends ParallelError {
  static {
    this.prototype.name = "ClosedError";
  }
  constructor(message = "This Parallel is closed: make a new one for further calls") {
    super("ERR_PARALLEL_CLOSED", message);
  }
}

/** `run` or `runThread` was refused: `maxQueue` items wait already. Nothing of it was run. */
export class QueueFullError extends ParallelError {
  static {
    this.prototype.name = "QueueFullError";
  }
  /** How many items wait. */
  readonly waiting: number;
  /** How many may. */
  readonly maxQueue: number;
  constructor(waiting: number, maxQueue: number, verb: "run" | "runThread") {
    const drain = verb === "run" ? "onDrain()" : `onDrain("${verb}")`;
    super(
      "ERR_PARALLEL_QUEUE_FULL",
      `The queue is full: ${waiting} items wait, \`maxQueue\` is ${maxQueue}. ` +
        `Try again later, or await ${drain} before ${verb}()`,
    );
    this.waiting = waiting;
    this.maxQueue = maxQueue;
  }
}

/** The server of an engine cannot be used, or a run of it cannot be continued. */
export class EngineError extends ParallelError {
  static {
    this.prototype.name = "EngineError";
  }
  /**
   * `unreachable`: nothing answers; `denied`: wrong password, or a right is missing; `tls`: the connection cannot be secured; `unsuitable`: the
   * server's version or settings; `busy`: another program continues the same run; `changed`: the run had other items; `lost`: the run was
   * taken over.
   */
  readonly reason: "unreachable" | "denied" | "tls" | "unsuitable" | "busy" | "changed" | "lost";

  constructor(message: string, reason: EngineError["reason"], options?: ErrorOptions) {
    super("ERR_PARALLEL_ENGINE", message, options);
    this.reason = reason;
  }
}

/** A call to a supervisor or through it has failed: refused, not answered, or answered by an error, whose message it has. */
export class SupervisorError extends ParallelError {
  static {
    this.prototype.name = "SupervisorError";
  }

  /** `refused`: not allowed, or not understood; `timeout`; `disconnected`: the other end has gone; `failed`: it has answered with this error. */
  readonly reason: "refused" | "timeout" | "disconnected" | "failed";

  constructor(message: string, reason: SupervisorError["reason"] = "failed") {
    super("ERR_PARALLEL_SUPERVISOR", message);
    this.reason = reason;
  }
}

/** @internal Marks an error that is not a `ParallelError` as created by this library. */
export function own<E extends Error>(error: E): E {
  ours.add(error);
  return error;
}

/** @internal Whether this library created the error, not the user's code. */
export function isOurs(error: unknown): error is Error {
  return ours.has(error as object);
}

/**
 * @internal
 *
 * @param errors - by index, with holes
 * @throws AggregateError with them in the order of the items, if there are any
 */
export function throwIfAny(errors: readonly Error[], count: number): void {
  const inOrder = Object.values(errors);
  if (inOrder.length === 0) return;
  throw own(new AggregateError(inOrder, `${inOrder.length} of ${count} items failed`));
}

/** One start method cannot be used here, but another can; the message gives the reason. Never reaches the user. */
export class UnfitError extends Error {}
