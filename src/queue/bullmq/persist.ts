/** What the server has to learn is said again until it takes it: a full memory, a failed save or a change of the primary pass. */
import type { RetryDelay } from "../../options.js";
import { backoffAfter } from "../../system/backoff.js";
import { setTimeout } from "../../system/timers.js";

export interface Persistence {
  readonly retry: Required<RetryDelay>;
  /** Whether nobody needs it any more. */
  isOver(): boolean;
  onError(error: Error): void;
}

/**
 * Runs a command until it succeeds. While the connection is down, commands wait by themselves.
 *
 * @param isFinal - whether an error is an answer
 * @returns `undefined` if it is over before
 * @throws the first error that is final
 */
export async function persist<T>(
  command: () => Promise<T>,
  isFinal: (error: Error) => boolean,
  { retry, isOver, onError }: Persistence,
): Promise<T | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await command();
    } catch (error) {
      if (isOver()) return undefined;
      if (isFinal(error as Error)) throw error;
      onError(error as Error);
      await new Promise((resolve) => setTimeout(resolve, backoffAfter(attempt, retry)));
      if (isOver()) return undefined;
    }
  }
}
