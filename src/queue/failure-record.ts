/** A failure of an item on its way from the machine to the program that maps: as JSON, and as an error of the same class again. */
import type { ParallelError } from "../errors.js";
import {
  DeadChildError,
  ItemError,
  ItemTimeoutError,
  own,
  ProtocolError,
  ResultTypeError,
  StartError,
} from "../errors.js";
import type { Failure } from "../wire/task.js";
import { type ErrorRecord, recordError, reviveError } from "../wire/error-record.js";

export interface FailureRecord {
  readonly error: ErrorRecord;
  readonly retry: boolean;
}

/** @param machine - name of this machine, for the error's message */
export function recordFailure({ error, isRetriable }: Failure, machine: string): FailureRecord {
  return { error: recordError(named(error, machine)), retry: isRetriable };
}

export function reviveFailure({ error: record, retry }: FailureRecord): Failure {
  const error = reviveError(record);
  if (!(error instanceof Error)) return { error: new Error(String(error)), isRetriable: retry };
  const { code } = error as { code?: unknown };
  const type = CLASSES.get(code as string);
  if (type) {
    Object.setPrototypeOf(error, type.prototype);
    // Those of a class are not its instance's own.
    if (Object.hasOwn(error, "name")) Reflect.deleteProperty(error, "name");
    own(error);
  }
  return { error, isRetriable: retry };
}

const CLASSES = new Map<string, { readonly prototype: ParallelError }>([
  ["ERR_PARALLEL_ITEM", ItemError],
  ["ERR_PARALLEL_CHILD_DIED", DeadChildError],
  ["ERR_PARALLEL_TIMEOUT", ItemTimeoutError],
  ["ERR_PARALLEL_RESULT_TYPE", ResultTypeError],
  ["ERR_PARALLEL_PROTOCOL", ProtocolError],
  ["ERR_PARALLEL_START", StartError],
]);

/** Its message ends with "(num 3, pid 123)", which says little where there are many machines. */
function named(error: Error, machine: string): Error {
  if (!(error instanceof ItemError) || !error.message.endsWith(")")) return error;
  const message = `${error.message.slice(0, -1)} on ${machine})`;
  for (const [name, value] of Object.entries({ message, machine })) {
    Object.defineProperty(error, name, {
      value,
      enumerable: name === "machine",
      writable: true,
      configurable: true,
    });
  }
  return error;
}
