/** Checks the entries that a child wrote into its ledger: any code in the child can overwrite that memory. */
import { parse } from "../system/json.js";
import { Breach, excerpt } from "./breach.js";
import type { Ending, LastWord } from "./protocol.js";
import { RESULT_BUFFERS } from "./result-buffers.js";

type Fields = Readonly<Record<string, unknown>>;

/** A marked line of the ledger: the number of the next item, how the child ends, or the outcome of an item. */
export type Noted = number | { readonly end: Ending } | string | readonly [unknown] | LastWord;

/** @throws Breach when the line is no `Noted` */
export function readNoted(json: string): Noted {
  let value: unknown;
  try {
    value = parse(json);
  } catch {
    throw new Breach(`noted something in its ledger that is not JSON: ${excerpt(json)}`);
  }
  if (typeof value === "number" || typeof value === "string") return value;
  if (Array.isArray(value) ? value.length === 1 : isWord(value)) return value as Noted;
  if (isObject(value) && isEnding(value["end"])) return value as { end: Ending };
  throw new Breach(`noted ${excerpt(value)} in its ledger where a result or an error is expected`);
}

/** Reads the outcome of an item that was written to a file. @throws Breach */
export function readWord(json: string): LastWord {
  const value = readNoted(json);
  if (typeof value === "object" && "status" in value && value.status !== "elsewhere") return value;
  throw new Breach(`left ${excerpt(value)} where an error is expected`);
}

/** Reads how the child ends, when that was written to a file. @throws Breach */
export function readEnding(json: string): Ending {
  const value: unknown = parse(json);
  if (isEnding(value)) return value;
  throw new Breach(`left ${excerpt(value)} where its ending is expected`);
}

/** Does not accept `throttled`: only programs report it, and they have no ledger in shared memory. */
function isWord(value: unknown): value is LastWord {
  if (!isObject(value)) return false;
  const { status, kind, size, buffer, error, got } = value;
  if (status === "error") return isObject(error);
  if (status === "mistyped") return typeof got === "string";
  if (status === "elsewhere") return true;
  const isPlace =
    (kind === "text" || kind === "bytes" || kind === "json") &&
    isCount(size, Number.MAX_SAFE_INTEGER) &&
    (buffer === undefined || isCount(buffer, RESULT_BUFFERS - 1));
  return status === "ok" && isPlace;
}

function isEnding(value: unknown): value is Ending {
  if (!isObject(value)) return false;
  const { how, error } = value;
  if (how === "uncaught" || how === "teardown") return isObject(error);
  return how === "exit" || how === "drained" || how === "elsewhere";
}

function isCount(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
