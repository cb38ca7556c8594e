/**
 * Reads the text of a heap snapshot as it comes, and keeps none of it. The text is one JSON object: first `snapshot`, an object that names
 * the fields, then arrays of numbers, in which each record is so many numbers in a row. `trace_tree` has arrays within arrays. `strings` is
 * the last one.
 */
import { parse } from "../../system/json.js";

/** What is in `snapshot`, and of use here. */
export interface SnapshotHead {
  readonly meta: {
    readonly node_fields: readonly string[];
    readonly node_types: readonly [readonly string[], ...unknown[]];
    readonly edge_fields: readonly string[];
    readonly trace_function_info_fields: readonly string[];
    readonly trace_node_fields: readonly string[];
  };
  readonly node_count: number;
}

export interface SnapshotHandler {
  head(head: SnapshotHead): void;
  /** Returns what takes the numbers of the array with that name; undefined to skip it. */
  numbers(array: string): ((value: number) => void) | undefined;
  /** An array begins or ends within `trace_tree`. */
  nested(begins: boolean): void;
  /** Whether it needs the next of `strings`. */
  needsString(): boolean;
  /** The one that it needs. */
  string(text: string): void;
}

const [QUOTE, COMMA, OPEN, BACKSLASH, CLOSE] = [34, 44, 91, 92, 93] as const;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const FIRST_ARRAY = /,\s*"nodes":\[/;

export class SnapshotReader {
  readonly #handler: SnapshotHandler;
  /** Text that the next piece completes: the head, the name of an array or a string. */
  #rest = "";
  #state: "head" | "between" | "numbers" | "strings" = "head";
  #take: ((value: number) => void) | undefined;
  #depth = 0;
  /** The number that is being read; -1 for none. */
  #number = -1;

  constructor(handler: SnapshotHandler) {
    this.#handler = handler;
  }

  /** @param text - the next piece, which may end anywhere */
  write(text: string): void {
    const rest = this.#rest + text;
    let at = 0;
    while (at < rest.length) {
      const state = this.#state;
      const next =
        state === "numbers"
          ? this.#readNumbers(rest, at)
          : state === "strings"
            ? this.#readStrings(rest, at)
            : state === "between"
              ? this.#readName(rest, at)
              : this.#readHead(rest);
      if (next === undefined) break;
      at = next;
    }
    this.#rest = rest.slice(at);
  }

  #readHead(text: string): number | undefined {
    const found = FIRST_ARRAY.exec(text);
    if (!found) return undefined;
    const { snapshot } = parse(`${text.slice(0, found.index)}}`) as { snapshot: SnapshotHead };
    this.#handler.head(snapshot);
    this.#state = "between";
    return found.index;
  }

  #readName(text: string, from: number): number | undefined {
    const open = text.indexOf("[", from);
    if (open === -1) return undefined;
    const name = text.slice(text.indexOf('"', from) + 1, text.lastIndexOf('"', open));
    this.#state = name === "strings" ? "strings" : "numbers";
    this.#take = name === "strings" ? undefined : this.#handler.numbers(name);
    this.#depth = 1;
    this.#number = -1;
    return open + 1;
  }

  #readNumbers(text: string, from: number): number {
    const take = this.#take;
    let number = this.#number;
    let at = from;
    for (; at < text.length && this.#depth > 0; at += 1) {
      const code = text.charCodeAt(at);
      if (code >= DIGIT_0 && code <= DIGIT_9) {
        number = (number === -1 ? 0 : number * 10) + code - DIGIT_0;
        continue;
      }
      if (code !== COMMA && code !== OPEN && code !== CLOSE) continue;
      if (number !== -1) take?.(number);
      number = -1;
      if (code === OPEN) {
        this.#depth += 1;
        this.#handler.nested(true);
      } else if (code === CLOSE) {
        this.#depth -= 1;
        if (this.#depth > 0) this.#handler.nested(false);
      }
    }
    this.#number = number;
    if (this.#depth === 0) this.#state = "between";
    return at;
  }

  /** Returns where the first string begins that is not complete yet. */
  #readStrings(text: string, from: number): number | undefined {
    let at = from;
    for (;;) {
      while (at < text.length && text.charCodeAt(at) !== QUOTE) at += 1;
      if (at === text.length) return at;
      const end = endOfString(text, at);
      if (end === undefined) return at === from ? undefined : at;
      if (this.#handler.needsString()) this.#handler.string(parse(text.slice(at, end)) as string);
      at = end;
    }
  }
}

/** Returns the position after its closing quote. */
function endOfString(text: string, start: number): number | undefined {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at += 1;
    else if (code === QUOTE) return at + 1;
  }
  return undefined;
}
