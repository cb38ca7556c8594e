/** Checks the entries that a child wrote into its ledger: any code in the child can overwrite that memory. */
import { parse } from "../system/json.js";
import { Breach, excerpt } from "./breach.js";
import type { Entry } from "./ledger.js";
import type { Ending, LastWord } from "./protocol.js";
import { RESULT_BUFFERS } from "./result-buffers.js";

type Fields = Readonly<Record<string, unknown>>;

/** A line that is no entry: the number of the item whose entry comes next, or how the child ends. */
export type Control = number | { readonly end: Ending };

/** @throws Breach when the line is no `Control` */
export function readControl(json: string): Control {
  const value = readJson(json);
  if (typeof value === "number") return value;
  if (isObject(value) && isEnding(value["end"])) return value as { end: Ending };
  throw new Breach(`noted ${excerpt(value)} in its ledger where the number of an item is expected`);
}

/** Reads the outcome of an item. @throws Breach */
export function readEntry(json: string): Entry {
  const value = readJson(json);
  if (typeof value === "string") return value;
  if (Array.isArray(value) ? value.length === 1 : isWord(value)) return value as Entry;
  throw new Breach(`noted ${excerpt(value)} in its ledger where a result or an error is expected`);
}

function readJson(json: string): unknown {
  try {
    return parse(json);
  } catch {
    throw new Breach(`noted something in its ledger that is not JSON: ${excerpt(json)}`);
  }
}

/** Reads the outcome of an item that was written to a file. @throws Breach */
export function readWord(json: string): LastWord {
  const value = readEntry(json);
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
  const { status, kind, size, buffer, base64, error, got } = value;
  if (status === "error") return isObject(error);
  if (status === "mistyped") return typeof got === "string";
  if (status === "elsewhere") return true;
  if (base64 !== undefined) return status === "ok" && typeof base64 === "string" && isOfBytes(kind);
  const isPlace =
    (kind === "text" || kind === "json" || isOfBytes(kind)) &&
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

function isOfBytes(kind: unknown): boolean {
  return kind === "bytes" || kind === "buffer" || kind === "advanced";
}

function isCount(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
