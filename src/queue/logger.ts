/** What a queue worker tells of itself: to the user's logger, or else, if something is wrong, as a warning of the process. */
import type { Rule } from "../option-rules.js";

/** What a message is about, such as `queue`, `job` and `err`. */
export type LogFacts = Readonly<Record<string, unknown>>;

/**
 * Receives what happens: `console`, a logger of pino or winston, or an object of your own. A method that is missing receives nothing.
 *
 * @remarks
 * Messages are whole sentences; `facts` are the same for programs. `info`: the start, the end, the connection, and jobs that failed, which their
 * queue has recorded. `warn`: the server is away, or a job was given to another machine. `error`: this machine cannot serve.
 */
export interface Logger {
  readonly info?: (message: string, facts: LogFacts) => unknown;
  readonly warn?: (message: string, facts: LogFacts) => unknown;
  readonly error?: (message: string, facts: LogFacts) => unknown;
}

export const LOGGER_RULE: Rule = {
  expected: "an object with functions `info`, `warn` and `error`, such as console",
  accepts: (value) =>
    typeof value === "object" &&
    value !== null &&
    LEVELS.some((level) => typeof (value as Logger)[level] === "function") &&
    LEVELS.every((level) => ["function", "undefined"].includes(typeof (value as Logger)[level])),
};

const LEVELS = ["info", "warn", "error"] as const;
export type LogLevel = (typeof LEVELS)[number];

export type Log = (level: LogLevel, message: string, facts?: LogFacts) => void;

/** Returns a function that never throws: a logger must not end the jobs that it is told of. */
export function logTo(logger: Logger | undefined): Log {
  if (!logger) return warn;
  // Pino has the facts first, and drops what follows a message.
  const takesFactsFirst = typeof (logger as { bindings?: unknown }).bindings === "function";
  return (level, message, facts = {}) => {
    try {
      if (takesFactsFirst) logger[level]?.(facts as never, message as never);
      else logger[level]?.(message, facts);
    } catch (error) {
      warn("error", `The logger of a queue worker failed: ${String(error)}`);
    }
  };
}

function warn(level: LogLevel, message: string): void {
  if (level === "info") return;
  process.emitWarning(message, { type: "ForkmapWarning", code: "FORKMAP_QUEUE" });
}
