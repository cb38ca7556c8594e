/** Errors of calls between two processes: as they are sent, and as they come out at the other end. */
import { SupervisorError } from "../errors.js";

/** More of a message would be no help, and a line has a limit. */
const LONGEST_TEXT = 16_384;
const REASONS = ["refused", "timeout", "disconnected", "failed"] as const;

export function recordOf(error: unknown): Readonly<Record<string, string>> {
  if (!(error instanceof Error)) return { name: "Error", message: cut(error) };
  const { reason } = error as { reason?: unknown };
  return {
    name: cut(error.name),
    message: cut(error.message),
    ...(typeof reason === "string" ? { reason: cut(reason) } : {}),
  };
}

export function reviveCallError(record: unknown): Error {
  const { name, message, reason } = Object(record) as Record<string, unknown>;
  const text = typeof message === "string" ? message : "the other end has failed without a reason";
  if (name === "TypeError") return new TypeError(text);
  return new SupervisorError(text, REASONS.find((each) => each === reason) ?? "failed");
}

export function disconnected(what: string): SupervisorError {
  return new SupervisorError(
    `${what}: the connection was closed before the answer had come`,
    "disconnected",
  );
}

export function late(what: string, timeout: number): SupervisorError {
  return new SupervisorError(`${what} was not answered within ${timeout} ms`, "timeout");
}

function cut(text: unknown): string {
  return String(text).slice(0, LONGEST_TEXT);
}
