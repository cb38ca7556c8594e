/**
 * Sends one request to the program and returns its answer, or a sentence about what went wrong.
 * launch/program/answer.ts parses the lines; this file checks the rest: time, extra lines, ids, result files.
 */
import { isUtf8 } from "node:buffer";
import {
  MAX_ANSWER_BYTES,
  type ProgramAnswer,
  readAnswer,
  tooLong,
} from "../../launch/program/answer.js";
import type { ProgramExit } from "../../launch/program/program-process.js";
import { Breach, excerpt } from "../../wire/breach.js";
import { endingOf, mistakeOf, shown, silenceOf, UNASKED } from "./mistakes.js";
import type { Talk } from "./talk.js";

/** Wait for output after an answer, which is a mistake. It usually arrives in one piece with the answer. */
const SETTLE_MS = 50;
/** Wait for an answer after stdin is closed: a program with buffered output writes its answer when it ends. */
const LAST_WORDS_MS = 5000;
/** Wait for the answer after a line that is not one. */
const BESIDES_MS = 500;
const MOST_BESIDES = 50;

/** Every answer but `progress`, which does not end a request. */
export type FinalAnswer = Exclude<ProgramAnswer, { status: "progress" }>;

export type Reply = Answered | Failed;

export interface Answered {
  readonly answer: FinalAnswer;
  /** The result of an `ok`, from the line or from the result file. */
  readonly result: unknown;
  readonly idState: IdState;
  /** Set if the program ended after the answer. */
  readonly exit: ProgramExit | undefined;
}

export interface IdState {
  /** What is wrong with the id. The rest of the answer is still used. */
  readonly problem?: string;
  readonly isMissing?: boolean;
}

export interface Failed {
  /** Continues "it". */
  readonly problem: string;
  readonly stderr: readonly string[];
  /** The program gave no answer in time. Further items are skipped, as each would take as long. */
  readonly isMute: boolean;
  /** The program had ended before it read the request. */
  readonly isUnread: boolean;
  /** How many lines that are not answers came before the answer; 0 if no answer came. */
  readonly aside: number;
}

export function hasFailed(reply: Reply): reply is Failed {
  return "problem" in reply;
}

/** The item as the field `payload` of a request. */
export function payload(item: unknown): string {
  return `"payload":${JSON.stringify(item)}`;
}

/**
 * Sends a request and waits for its answer.
 *
 * @param fields - all but the id, as JSON
 * @param timeout - in ms
 * @param lastWords - how long to wait for output after stdin is closed, if there was no answer in time, in ms
 */
export async function ask(
  talk: Talk,
  fields: string,
  timeout: number,
  lastWords = LAST_WORDS_MS,
): Promise<Reply> {
  const early = await talk.hear(0);
  if (early.kind === "line") {
    return failed(talk, `wrote ${shown(early.line)} after its last answer: ${UNASKED}`);
  }
  const deadline = performance.now() + timeout;
  const id = talk.request(fields);
  let isWorking = false;
  for (;;) {
    const heard = await talk.hear(deadline - performance.now());
    if (heard.kind === "silence") {
      const problem = await silenceOf(talk, { timeout, lastWords, isWorking });
      return failed(talk, problem, { isMute: true });
    }
    if (heard.kind !== "line") {
      const isUnread = talk.hasUnreadInput;
      return failed(talk, endingOf(heard, isUnread), { isUnread });
    }
    const read = readLine(heard.line, [id]);
    if (read instanceof Breach) return await notAnAnswer(talk, heard.line, read, deadline);
    if (read.answer.status === "progress") isWorking = true;
    else return await settled(talk, read.answer, read.idState);
  }
}

export interface Read {
  readonly answer: ProgramAnswer;
  readonly idState: IdState;
}

/**
 * Reads a line as an answer to one of the requests `ids`. If only the id is wrong, the rest of the answer is still
 * used: the wrong id is reported once, and the other checks can go on.
 */
export function readLine(line: Buffer, ids: readonly string[]): Read | Breach {
  if (line.length > MAX_ANSWER_BYTES) return tooLong();
  try {
    const answer = readAnswer(line);
    return { answer, idState: idStateOf(answer.id, ids) };
  } catch (error) {
    if (!(error instanceof Breach)) throw error;
    const answer = withoutId(line);
    return answer ? { answer, idState: { problem: error.message } } : error;
  }
}

export function isAnswer(line: Buffer): boolean {
  return !(readLine(line, []) instanceof Breach);
}

function idStateOf(id: string | undefined, ids: readonly string[]): IdState {
  if (id === undefined) return { isMissing: true };
  if (ids.includes(id)) return {};
  const expected = ids.length === 1 ? `"${ids[0]}" was` : `one of ${ids.join()} was`;
  return { problem: `answered with the "id" ${excerpt(id)} where ${expected} expected` };
}

/** Reads an answer without its id, if the id is not a string. */
function withoutId(line: Buffer): ProgramAnswer | undefined {
  if (!isUtf8(line)) return undefined;
  try {
    const { id = "", ...rest } = JSON.parse(line.toString()) as { id?: unknown };
    return typeof id === "string" ? undefined : readAnswer(Buffer.from(JSON.stringify(rest)));
  } catch {
    return undefined;
  }
}

/** Checks that nothing comes after an answer, and reads the file that the answer names. */
async function settled(talk: Talk, answer: FinalAnswer, idState: IdState): Promise<Reply> {
  const next = await talk.hear(SETTLE_MS);
  if (next.kind === "line") {
    const more = shown(next.line);
    return failed(
      talk,
      isAnswer(next.line)
        ? `wrote more after its answer: ${more}. One request has one answer, on one line`
        : `printed ${more} to stdout besides its answer: ${UNASKED}`,
    );
  }
  if (talk.unfinished.length > 0) {
    return failed(talk, `wrote more after its answer: ${shown(talk.unfinished)}. ${UNASKED}`);
  }
  if (next.kind === "flood" || next.kind === "closed") return failed(talk, endingOf(next));
  const exit = next.kind === "end" ? next.exit : undefined;
  if (answer.status !== "ok") return { answer, result: undefined, idState, exit };
  if ("result" in answer) return { answer, result: answer.result, idState, exit };
  try {
    const written = talk.files.open(0, answer.file, answer.kind);
    return { answer, result: await talk.files.takeResult(0, written), idState, exit };
  } catch (error) {
    // The content of the file is not a result of the stated type.
    const named = `answered with the "result_file" ${excerpt(answer.file)}, which cannot be read: `;
    const { message } = error as Error;
    return failed(talk, error instanceof Breach ? message : `${named}${message}`);
  }
}

/** Reads what follows a line that is not an answer: the line may be part of a longer answer, or other output. */
async function notAnAnswer(
  talk: Talk,
  line: Buffer,
  breach: Breach,
  deadline: number,
): Promise<Failed> {
  const lines = [line];
  let isAnswered = false;
  while (lines.length < MOST_BESIDES && !isAnswered) {
    const left = Math.max(0, deadline - performance.now());
    const heard = await talk.hear(Math.min(BESIDES_MS, left));
    if (heard.kind !== "line") break;
    isAnswered = isAnswer(heard.line);
    if (!isAnswered) lines.push(heard.line);
  }
  const aside = isAnswered ? lines.length : 0;
  return failed(talk, mistakeOf(lines, breach, isAnswered), { aside });
}

function failed(talk: Talk, problem: string, facts: Partial<Failed> = {}): Failed {
  return { isMute: false, isUnread: false, aside: 0, ...facts, problem, stderr: talk.stderr };
}
