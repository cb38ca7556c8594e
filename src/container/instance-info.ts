/** What a container tells of its instances, and the error of one that is not started again. */
import { ParallelError } from "../errors.js";
import type { Kind } from "../worker/worker.js";

/**
 * `starting`: its child is not ready yet; `ready`; `stopping`: it was asked to stop; `waiting`: it has no child, and gets one after a
 * pause; `ended`: it is not started again.
 */
export type InstanceState = "starting" | "ready" | "stopping" | "waiting" | "ended";

/** An instance, as it is now. */
export interface InstanceInfo {
  /** Its number in the container, 0 to N-1: kept over every restart, and given back when it is not started again. */
  readonly num: number;
  /** How many children it has had, this one included. */
  readonly generation: number;
  /** How its children are started; `undefined` until that is known. */
  readonly kind: Kind | undefined;
  readonly name: string;
  readonly key: string | undefined;
  readonly pid: number | undefined;
  readonly state: InstanceState;
  /** The text that it has told last; empty before. */
  readonly status: string;
  /** How long its child has been alive, in ms; 0 without one. */
  readonly age: number;
  /** How many of its children were started in place of an earlier one. */
  readonly restarts: number;
}

/** How the child of an instance has ended. */
export interface InstanceEnd {
  /** In words: "exit code 1", "SIGKILL", "it was not ready after 10000 ms". */
  readonly how: string;
  /** Undefined when a signal ended it, or it could not be started. */
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** What `run` threw, or an uncaught error; else why the child could not be started. */
  readonly error: unknown;
  /** Whether it ended otherwise than by exit code 0 or on request. */
  readonly isFailure: boolean;
  /** Whether it was asked to stop, and killed as it had not done so within the grace. */
  readonly wasKilled: boolean;
  /** Whether it had told that it was ready. */
  readonly wasReady: boolean;
  /** How long it lived, in ms. */
  readonly age: number;
  /** In ms; `undefined` if the instance is not started again. */
  readonly restartIn: number | undefined;
  /** Whether it is not started again because it was restarted too often (`intensity`), or cannot be loaded. */
  readonly isGivenUp: boolean;
}

/** Whether the instance is lost with this end: it has failed, or ended well but again and again, and is not started again. */
export function isLoss({ isGivenUp, isFailure, restartIn }: InstanceEnd): boolean {
  return isGivenUp || (isFailure && restartIn === undefined);
}

/** An instance has failed and is not started again; `cause` is its own error, if there was one. */
export class InstanceError extends ParallelError {
  static {
    this.prototype.name = "InstanceError";
  }
  /** Number of the instance. */
  readonly num: number;
  readonly instanceName: string;
  readonly pid: number | undefined;
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;

  constructor({ num, name, pid }: InstanceInfo, end: InstanceEnd) {
    const why = end.isGivenUp ? "is given up" : "has failed and is not restarted";
    const when = end.wasReady ? "" : " before it was ready";
    super(
      "ERR_PARALLEL_INSTANCE",
      `${name} num ${num} ${why}: it ended${when} (${end.how})`,
      end.error === undefined ? undefined : { cause: end.error },
    );
    this.num = num;
    this.instanceName = name;
    this.pid = pid;
    this.exitCode = end.exitCode;
    this.signal = end.signal;
  }
}
