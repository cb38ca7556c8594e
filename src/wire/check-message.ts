/**
 * Checks the messages of children: a worker may have written into its own channel, or replaced the functions that its
 * child writes with. Any message that protocol.ts does not define is a `Breach`.
 */
import { parse } from "../system/json.js";
import { Breach, excerpt } from "./breach.js";
import { LineSplitter } from "./lines.js";
import type {
  Answer,
  ChildGreeting,
  FromForkServer,
  FromHost,
  FromSpawnedChild,
  FromThread,
} from "./protocol.js";
import type { Notification } from "./notification.js";

/** An unfinished line longer than this is a `Breach`, so that it does not fill the parent's memory. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

type Fields = Readonly<Record<string, unknown>>;

/** Splits the output of a child's channel into messages. After the first `Breach`, everything else is ignored. */
export class MessageReader {
  readonly #lines = new LineSplitter();
  readonly #onMessage: (message: unknown) => void;
  readonly #onBreach: (reason: string) => void;
  #isBroken = false;

  /** @param onMessage - may also throw a `Breach` */
  constructor(onMessage: (message: unknown) => void, onBreach: (reason: string) => void) {
    this.#onMessage = onMessage;
    this.#onBreach = onBreach;
  }

  push(chunk: Buffer): void {
    if (this.#isBroken) return;
    try {
      for (const line of this.#lines.push(chunk)) this.#onMessage(parseMessage(line));
      if (this.#lines.pending > MAX_LINE_BYTES) throw new Breach("wrote a line without end");
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#isBroken = true;
      this.#onBreach(error.message);
    }
  }
}

function parseMessage(line: string): unknown {
  try {
    return parse(line);
  } catch {
    throw new Breach(`wrote a line into its channel that is not JSON: ${excerpt(line)}`);
  }
}

export function readAnswer(message: unknown): Answer {
  if (isAnswer(message)) return message;
  throw unexpected(message, "an answer");
}

export function readChildGreeting(message: unknown): ChildGreeting {
  const fields = fieldsOf(message);
  if (fields["hello"] === "child" && isText(fields["id"]) && isNumber(fields["pid"])) {
    return message as ChildGreeting;
  }
  throw unexpected(message, "a greeting");
}

export function readFromSpawnedChild(message: unknown): FromSpawnedChild {
  const fields = fieldsOf(message);
  if (isGreeting(fields) || isAnswer(message) || isUsage(fields["usage"])) {
    return message as FromSpawnedChild;
  }
  // About a thread that the child hosts; checked by `readFromHost`.
  if (fields["status"] === "thread" || isNotification(fields)) return message as FromSpawnedChild;
  throw unexpected(message, "an answer");
}

/** Returns `undefined` for any other message: the user's code may post messages of its own to the parent. */
export function readFromThread(message: unknown): FromThread | undefined {
  const fields = fieldsOf(message);
  const isKnown = isGreeting(fields) || isNotification(fields) || isAnswer(message);
  return isKnown ? (message as FromThread) : undefined;
}

/** @throws Breach when it is no notification of an instance */
export function readNotification(message: unknown): Notification {
  const fields = fieldsOf(message);
  if (isNotification(fields)) return fields["notify"] as Notification;
  throw unexpected(message, "a notification");
}

export function readFromHost(message: unknown): FromHost {
  const fields = fieldsOf(message);
  const { status, id, ready, answer, end } = fields;
  const isKnown = ready === true || isAnswer(answer) || isThreadEnd(fieldsOf(end), end);
  if (status === "thread" && isText(id) && isKnown) return message as FromHost;
  throw unexpected(message, "what became of a thread");
}

export function readFromForkServer(message: unknown): FromForkServer {
  const fields = fieldsOf(message);
  if (isGreeting(fields)) return message as FromForkServer;
  const { id, waiting, started, piped, unpiped, unstarted, usage, pid, exitCode, signal } = fields;
  const isNotice =
    started === true || piped === true || [waiting, unpiped, unstarted].some(isNumber);
  const isReport = isUsage(usage) && isNumber(pid) && (isNumber(exitCode) || isNumber(signal));
  if (isText(id) && (isNotice || isReport)) return message as FromForkServer;
  throw unexpected(message, "a report");
}

function isAnswer(message: unknown): message is Answer {
  const { id, full, status, from, to } = fieldsOf(message);
  if (!isText(id) || (full !== undefined && full !== true)) return false;
  return status === "ok" || status === "progress" || (status === "returned" && isRange(from, to));
}

function isGreeting({ hello, reason, problem, change }: Fields): boolean {
  if (hello === "failed") return isText(fieldsOf(problem)["message"]);
  if (hello === "ready") return change === undefined || isText(change);
  return hello === "unfit" && isText(reason);
}

function isNotification({ notify }: Fields): boolean {
  if (typeof notify !== "object" || notify === null || Array.isArray(notify)) return false;
  const { ready, healthy, status, replace } = notify as Fields;
  if (replace !== undefined && !isReplacement(fieldsOf(replace))) return false;
  const areFlags = [ready, healthy].every(
    (flag) => flag === undefined || typeof flag === "boolean",
  );
  return areFlags && (status === undefined || isText(status));
}

function isReplacement({ nums, reason, grace }: Fields): boolean {
  const areNums = nums === undefined || (Array.isArray(nums) && nums.every(isNumber));
  return isText(reason) && areNums && (grace === undefined || isNumber(grace));
}

function isThreadEnd({ exitCode, outOfMemory, reason, fatal }: Fields, end: unknown): boolean {
  if (typeof end !== "object" || end === null) return false;
  if (fatal !== undefined) {
    const { module } = fieldsOf(fatal);
    return module === undefined || isText(module);
  }
  return (
    (exitCode === undefined || isNumber(exitCode)) &&
    (outOfMemory === undefined || typeof outOfMemory === "boolean") &&
    (reason === undefined || isText(reason))
  );
}

function isUsage(usage: unknown): boolean {
  return Array.isArray(usage) && usage.length === 3 && usage.every(isNumber);
}

function isRange(from: unknown, to: unknown): boolean {
  return Number.isSafeInteger(from) && Number.isSafeInteger(to) && (from as number) >= 0;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function unexpected(message: unknown, expected: string): Breach {
  return new Breach(`wrote ${excerpt(message)} into its channel where ${expected} is expected`);
}
