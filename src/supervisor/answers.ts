/** The partial answers to a call of a client: pieces of long texts, and the answers of several instances. */
import { SupervisorError } from "../errors.js";

/** The answer of one of several instances. */
export interface InstanceAnswer<Answer = unknown> {
  readonly num: number;
  readonly pool?: string;
  readonly name: string;
  readonly generation: number;
  readonly pid: number;
  readonly answer?: Answer;
  /** Why there is no answer. */
  readonly error?: string;
}

type TakeChunk = (chunk: string, num: number | undefined) => void | Promise<void>;

/** A text of the answer cannot be longer in V8. */
const LONGEST_TEXT = 512 * 1024 * 1024;

/** The partial answers to one call. */
export class Answers {
  readonly #onChunk: TakeChunk | undefined;
  readonly #texts = new Map<string, string[]>();
  #length = 0;
  readonly #each: InstanceAnswer[] = [];

  constructor(onChunk: TakeChunk | undefined) {
    this.#onChunk = onChunk;
  }

  take(piece: unknown): void | Promise<void> {
    const { chunk, num, pool } = Object(piece) as { chunk?: unknown; num?: number; pool?: string };
    if (typeof chunk !== "string") {
      this.#each.push(piece as InstanceAnswer);
      return undefined;
    }
    if (this.#onChunk) return this.#onChunk(chunk, num);
    this.#length += chunk.length;
    if (this.#length > LONGEST_TEXT)
      throw new SupervisorError(
        "The answer is too long to be one text: take it in pieces with `onChunk`, or name a `file`",
      );
    const key = `${pool ?? ""} ${num ?? ""}`;
    const texts = this.#texts.get(key) ?? [];
    texts.push(chunk);
    this.#texts.set(key, texts);
    return undefined;
  }

  /** @param last - the last answer; undefined if each of several instances has answered */
  result(last: unknown): unknown {
    if (last === undefined) {
      const each = this.#each.map((answer) => {
        const text = this.#texts.get(`${answer.pool ?? ""} ${answer.num}`);
        return text ? { ...answer, answer: text.join("") } : answer;
      });
      return each.toSorted((one, other) => one.num - other.num);
    }
    const text = this.#texts.get(" ");
    return text ? text.join("") : last;
  }
}
