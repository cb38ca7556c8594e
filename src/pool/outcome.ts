/** Turns the end of a task into what the user gets: its result, from the ledger or the overflow, or an error. */
import {
  DeadChildError,
  ItemError,
  type ItemFacts,
  ItemTimeoutError,
  ProtocolError,
  ResultTypeError,
  StartError,
} from "../errors.js";
import type { ChildEnd } from "../launch/launcher.js";
import type { Overflow } from "../launch/overflow.js";
import { stringify } from "../system/json.js";
import { noRoomIn, shortageOf } from "../system/shortage.js";
import { readEnding, readWord } from "../wire/check-entry.js";
import { reviveError } from "../wire/error-record.js";
import { ofShortBytes } from "../wire/payload.js";
import type { Ending, LastWord } from "../wire/protocol.js";
import type { Failure, Run, Task } from "../wire/task.js";
import type { TaskOwner } from "./task-owner.js";

export function factsOf(
  { index, attempt }: Task,
  { num, pid, start, end, usage, printed }: Run,
): ItemFacts {
  return { index, num, pid, attempt, duration: end - start, usage, ...printed?.collected };
}

/** A word that ends an item. */
type FinalWord = Exclude<LastWord, { status: "throttled" }>;

/** Returns the result that a word gives or refers to (a promise if it is large), or the failure. */
export function resultOf(
  word: FinalWord,
  overflow: Overflow,
  seq: number,
  facts: ItemFacts,
  expected: string,
): { result: unknown } | Failure {
  try {
    const known = word.status === "elsewhere" ? takeWord(overflow, seq) : word;
    switch (known.status) {
      case "ok":
        return {
          result: "base64" in known ? ofShortBytes(known) : overflow.takeResult(seq, known),
        };
      case "mistyped":
        return { error: new ResultTypeError(facts, expected, known.got), isRetriable: false };
      default: {
        const cause = reviveError(known.error);
        return failure(new ItemError(facts, `failed: ${inWords(cause)}`, { cause }));
      }
    }
  } catch (cause) {
    return unreadable(facts, cause);
  }
}

export function unreadable(facts: ItemFacts, cause: unknown): Failure {
  const why = shortageOf(cause) ?? inWords(cause);
  const what = `gave a result that could not be read: ${why}`;
  return failure(new ItemError(facts, what, { cause }));
}

/** No child could be started for the item. */
export function failureToStart(facts: ItemFacts, reason: string, cause?: unknown): Failure {
  return failure(new StartError(facts, reason, cause === undefined ? {} : { cause }));
}

/** The item could not be sent to a child. */
export function failureToSend(facts: ItemFacts, cause: unknown, directory: string): Failure {
  const shortage = shortageOf(cause);
  if (shortage !== undefined) return failureToStart(facts, shortage, cause);
  const why = noRoomIn(directory, cause) ?? inWords(cause);
  return failure(new ItemError(facts, `could not be sent to a child: ${why}`, { cause }));
}

export function timeoutFailure(facts: ItemFacts, timeout: number, lastWords = ""): Failure {
  return failure(new ItemTimeoutError(facts, timeout, afterwards(lastWords)));
}

interface DeathDetails {
  readonly limits: TaskOwner["options"]["limits"];
  readonly lastWords?: string | undefined;
  /** The item was the first of its child. */
  readonly isFirst: boolean;
}

/** The child ended while the item ran. */
export function deathFailure(
  facts: ItemFacts,
  end: Extract<ChildEnd, { started: true }>,
  ending: KnownEnding | undefined,
  { limits, lastWords = "", isFirst }: DeathDetails,
): Failure {
  if (end.breach !== undefined) {
    return failure(new ProtocolError(facts, end.breach, afterwards(lastWords)));
  }
  const death = {
    exitCode: end.exitCode,
    signal: end.signal,
    probablyOutOfMemory: end.outOfMemory === true || HEAP_IS_FULL.test(lastWords),
  };
  if (ending?.how === "uncaught") {
    const cause = reviveError(ending.error);
    const whose = isFirst ? "" : ", its own or one that an earlier item of its child left behind";
    const what = `ended by an uncaught error${whose}: ${inWords(cause)}`;
    return failure(new DeadChildError(facts, death, what, { cause }));
  }
  const outOfMemory = death.probablyOutOfMemory;
  const what = deathInWords({ ...end, outOfMemory }, ending, limits, isFirst);
  return failure(new DeadChildError(facts, death, what + afterwards(lastWords)));
}

/** What V8 prints before it ends the process because its heap is full. */
const HEAP_IS_FULL = /FATAL ERROR: .*JavaScript heap out of memory/;

function afterwards(lastWords: string): string {
  return lastWords === "" ? "" : `, its last words on stderr: ${lastWords}`;
}

export type KnownEnding = Exclude<Ending, { how: "elsewhere" }>;

/** Returns what the child recorded about its end, in the ledger or in its overflow. */
export function takeEnding(ending: Ending, overflow: Overflow): KnownEnding | undefined {
  if (ending.how !== "elsewhere") return ending;
  try {
    const known = readEnding(overflow.takeEnding());
    return known.how === "elsewhere" ? undefined : known;
  } catch {
    // The child could not write the file (the disk is full), or wrote something else.
    return undefined;
  }
}

function failure(error: Error): Failure {
  return { error, isRetriable: true };
}

function takeWord(overflow: Overflow, seq: number): Exclude<FinalWord, { status: "elsewhere" }> {
  return readWord(overflow.takeWord(seq)) as Exclude<FinalWord, { status: "elsewhere" }>;
}

function deathInWords(
  { exitCode, signal, reason, usage, outOfMemory }: Extract<ChildEnd, { started: true }>,
  ending: Ending | undefined,
  limits: TaskOwner["options"]["limits"],
  isFirst: boolean,
): string {
  if (reason !== undefined) return `was lost: ${reason}`;
  const peak = usage ? ` (peak ${megabytes(usage.peakMemory)})` : "";
  const memory = outOfMemory ? `, probably out of memory${peak}` : "";
  if (signal !== undefined) {
    const limit =
      signal === "SIGXCPU" && limits?.cpuSeconds !== undefined
        ? `, its limit of ${limits.cpuSeconds} s of CPU time is used up`
        : "";
    return `lost its child, killed by ${signal}${memory}${limit}`;
  }
  if (ending?.how === "exit") {
    const who = isFirst ? "" : ", or code that an earlier item of its child left behind called it";
    return `called process.exit(${exitCode}) before it had a result${who}`;
  }
  if (ending?.how === "drained") {
    return "never settled: its promise is pending and nothing is left that could settle it";
  }
  return `lost its child, which exited with code ${exitCode} and no result${memory}`;
}

export function inWords(thrown: unknown): string {
  if (thrown instanceof Error) return `${thrown.name}: ${thrown.message}`;
  if (typeof thrown === "string") return `threw ${stringify(thrown)}`;
  return `threw ${typeof thrown === "object" && thrown !== null ? stringify(thrown) : String(thrown)}`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}
