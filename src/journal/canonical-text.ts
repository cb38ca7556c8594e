/**
 * A text that is the same for equal values that structured clone keeps. Their serialized bytes are not: V8 writes 1 as an
 * integer or a double, and a string in one form or another, by what it knows of the object, and changes with its version.
 */
import { createHash } from "node:crypto";
import { types } from "node:util";
import { stringify } from "../system/json.js";

/** @param value - checked to be one that can be cloned. What the clone loses, the text has not either */
export function canonicalText(value: unknown): string {
  return textOf(value, new Map());
}

/** @param seen - the objects so far and their numbers: they may contain themselves */
function textOf(value: unknown, seen: Map<object, number>): string {
  if (typeof value === "string") return stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) {
    return Object.is(value, -0) ? "-0" : String(value);
  }
  const number = seen.get(value);
  if (number !== undefined) return `#${number}`;
  seen.set(value, seen.size);
  const of = (each: unknown) => textOf(each, seen);
  const list = (values: Iterable<unknown>) => Array.from(values, of).join();
  // Elements by index, as there may be holes.
  if (Array.isArray(value)) return `[${members(Object.entries(value), of)};${value.length}]`;
  if (types.isMap(value)) return `Map(${list([...value].flat())})`;
  if (types.isSet(value)) return `Set(${list(value)})`;
  if (types.isDate(value)) return `Date(${value.getTime()})`;
  if (types.isRegExp(value)) return `RegExp(${stringify(value.source)},${value.flags})`;
  if (types.isBoxedPrimitive(value)) return `Object(${of(value.valueOf())})`;
  if (types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value)) return bytesText(value);
  if (types.isNativeError(value)) {
    const { name, message, stack, cause } = value;
    return `Error(${list([name, message, stack, cause])})`;
  }
  const sorted = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members(sorted, of)}}`;
}

function members(entries: readonly [string, unknown][], of: (each: unknown) => string): string {
  return entries.map(([key, each]) => `${stringify(key)}:${of(each)}`).join();
}

function bytesText(value: ArrayBufferLike | ArrayBufferView): string {
  const bytes = ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
  const type = Object.prototype.toString.call(value);
  return `${type}(${createHash("sha256").update(bytes).digest("base64url")})`;
}
