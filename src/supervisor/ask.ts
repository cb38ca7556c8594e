/** Asks one child for a diagnostic, and says so if it cannot answer: it has no connection yet, or its event loop is blocked. */
import { setTimeout, clearTimeout } from "../system/timers.js";
import { SupervisorError } from "../errors.js";
import { BEGUN } from "../wire/supervision.js";
import type { Child } from "./registry.js";

/** A child says at once that it has begun; one whose event loop is blocked does not. */
const BEGIN_MS = 5000;

/** @param onChunk - takes the pieces of a long text */
export async function ask(
  child: Child,
  name: string,
  args: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
  onChunk: (chunk: string) => Promise<void>,
): Promise<unknown> {
  const { calls } = child;
  if (!calls)
    throw new SupervisorError(
      `${inWords(child)} has not introduced itself to the supervisor: it is starting, or no process of Node`,
    );
  const blocked = new AbortController();
  let hasBegun = false;
  const timer = setTimeout(() => blocked.abort(blockedFor(child)), BEGIN_MS);
  try {
    return await calls.call(
      { do: name, args },
      {
        signal: AbortSignal.any([signal, blocked.signal]),
        onAnswer(piece) {
          clearTimeout(timer);
          const isFirst = !hasBegun;
          hasBegun = true;
          return isFirst && piece === BEGUN ? undefined : onChunk(String(piece));
        },
      },
    );
  } finally {
    clearTimeout(timer);
  }
}

export function inWords({ name, num, pid }: Child): string {
  return `${name} num ${num} (pid ${pid})`;
}

function blockedFor(child: Child): SupervisorError {
  if (child.calls?.isHeld)
    return new SupervisorError(
      `${inWords(child)} is sending another answer to a client that reads slowly: ask again when that has ended`,
      "timeout",
    );
  return new SupervisorError(
    `${inWords(child)} has not begun to answer within ${BEGIN_MS} ms: its event loop is blocked. thread_dump can say by what`,
    "timeout",
  );
}
