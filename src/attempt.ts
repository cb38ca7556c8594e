/**
 * One attempt at one item: launches a child for it, ends the child when its time is up or the call is, and makes an
 * outcome of how it ended. Whether there is another attempt is the scheduler's decision.
 */
import { readFileSync } from "node:fs";
import {
  DeadChildError,
  ItemError,
  type ItemFacts,
  ItemTimeoutError,
  ResultTypeError,
  StartError,
} from "./errors.js";
import { reviveError } from "./error-record.js";
import type { ChildEnd, Launched, Launcher } from "./launch/launcher.js";
import type { FinishInfo, ResolvedOptions } from "./options.js";
import { takePayload } from "./payload.js";
import type { LastWord, Request } from "./protocol.js";

export type Outcome =
  | { readonly status: "ok"; readonly result: unknown; readonly info: FinishInfo }
  /** `fatal`: every other item would fail in the same way. */
  | {
      readonly status: "failed";
      readonly error: Error;
      readonly retriable: boolean;
      readonly fatal: boolean;
    };

export class Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #request: Request;
  readonly #options: ResolvedOptions;
  readonly #launched: Launched;
  readonly #startedAt = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #forceTimer: NodeJS.Timeout | undefined;
  #timedOut = false;

  constructor(launcher: Launcher, request: Request, options: ResolvedOptions, expected: string) {
    this.#request = request;
    this.#options = options;
    this.#launched = launcher.launch(request);
    this.#launched.onBegun = () => this.#startClock();
    this.#launched.onWaiting = () => clearTimeout(this.#timer);
    if (this.#launched.beginsAtOnce) this.#startClock();
    this.outcome = this.#launched.ended.then((end) => {
      clearTimeout(this.#timer);
      clearTimeout(this.#forceTimer);
      return this.#outcomeOf(end, expected);
    });
  }

  /** Ends the child: `killSignal` first, SIGKILL when it takes too long. */
  kill(): void {
    if (this.#forceTimer) return;
    const { killSignal, forceKillAfterDelay } = this.#options;
    this.#launched.kill(killSignal);
    this.#forceTimer = setTimeout(() => this.#launched.kill("SIGKILL"), forceKillAfterDelay);
  }

  #startClock(): void {
    const { timeout } = this.#options;
    if (timeout === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timedOut = true;
      this.kill();
    }, timeout);
  }

  async #outcomeOf(end: ChildEnd, expected: string): Promise<Outcome> {
    const facts = this.#facts(end);
    if (!end.started) {
      return end.fatal
        ? { status: "failed", error: end.fatal, retriable: false, fatal: true }
        : {
            status: "failed",
            error: new StartError(facts, end.reason),
            retriable: true,
            fatal: false,
          };
    }
    try {
      const word = readWord(end.word);
      if (word?.status === "ok") return await this.#success(word, facts);
      return failed(this.#failure(end, word, facts, expected), word?.status !== "mistyped");
    } catch (cause) {
      return failed(new ItemError(facts, "gave a result that could not be read", { cause }));
    }
  }

  async #success(word: Extract<LastWord, { status: "ok" }>, facts: ItemFacts): Promise<Outcome> {
    const file = this.#request.payload.resultFile;
    const taken =
      file === undefined || word.kind === undefined
        ? undefined
        : takePayload(file, word.kind, word.size!);
    // Only a large result is a promise; awaiting a small one would cost a turn for nothing.
    const result = taken instanceof Promise ? ((await taken) as unknown) : taken;
    const { num, pid, attempt, duration, usage } = facts;
    return { status: "ok", result, info: { num, pid: pid!, attempt, duration, usage } };
  }

  #failure(
    end: Extract<ChildEnd, { started: true }>,
    word: Exclude<LastWord, { status: "ok" }> | undefined,
    facts: ItemFacts,
    expected: string,
  ): ItemError {
    const { timeout } = this.#options;
    if (this.#timedOut) return new ItemTimeoutError(facts, timeout!);
    if (word?.status === "mistyped") return new ResultTypeError(facts, expected, word.got);
    if (word?.status === "error") {
      const cause = reviveError(word.error);
      return new ItemError(facts, `failed: ${inWords(cause)}`, { cause });
    }
    const death = {
      exitCode: end.exitCode,
      signal: end.signal,
      probablyOutOfMemory: end.outOfMemory === true,
    };
    if (word?.status === "exited" && word.how === "uncaught") {
      const cause = reviveError(word.error);
      return new DeadChildError(facts, death, `ended by an uncaught error: ${inWords(cause)}`, {
        cause,
      });
    }
    return new DeadChildError(facts, death, this.#deathInWords(end, word));
  }

  #deathInWords(
    { exitCode, signal, reason, usage, outOfMemory }: Extract<ChildEnd, { started: true }>,
    word: LastWord | undefined,
  ): string {
    if (reason !== undefined) return `was lost: ${reason}`;
    const memory = outOfMemory
      ? `, probably out of memory (peak ${megabytes(usage?.peakMemory)})`
      : "";
    if (signal !== undefined) {
      const { limits } = this.#options;
      const limit =
        signal === "SIGXCPU" && limits?.cpuSeconds !== undefined
          ? `, its limit of ${limits.cpuSeconds} s of CPU time is used up`
          : "";
      return `lost its child, killed by ${signal}${memory}${limit}`;
    }
    if (word?.status === "exited" && word.how === "exit")
      return `called process.exit(${exitCode}) before it had a result`;
    if (word?.status === "exited" && word.how === "drained") {
      return "never settled: its promise is pending and nothing is left that could settle it";
    }
    return `lost its child, which exited with code ${exitCode} and no result${memory}`;
  }

  #facts(end: ChildEnd): ItemFacts {
    const { index, num, attempt } = this.#request.payload;
    const { pid, usage } = end.started ? end : { pid: undefined, usage: undefined };
    return { index, num, pid, attempt, usage, duration: performance.now() - this.#startedAt };
  }
}

function failed(error: Error, retriable = true): Outcome {
  return { status: "failed", error, retriable, fatal: false };
}

function readWord(
  word: LastWord | undefined,
): Exclude<LastWord, { status: "elsewhere" }> | undefined {
  if (word?.status !== "elsewhere") return word;
  return JSON.parse(readFileSync(word.file, "utf8")) as Exclude<LastWord, { status: "elsewhere" }>;
}

function inWords(thrown: unknown): string {
  if (thrown instanceof Error) return `${thrown.name}: ${thrown.message}`;
  if (typeof thrown === "string") return `threw ${JSON.stringify(thrown)}`;
  return `threw ${typeof thrown === "object" && thrown !== null ? JSON.stringify(thrown) : String(thrown)}`;
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? "unknown" : `${Math.round(bytes / 1024 / 1024)} MiB`;
}
