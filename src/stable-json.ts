/**
 * JSON with sorted keys: the same value is always the same bytes. As fast-json-stable-stringify writes it, but by a JSON that
 * the worker cannot replace.
 */
import { stringify } from "./json.js";

/** @throws TypeError for a value that contains itself */
export function stableStringify(value: unknown): string {
  return write(value, []) as string;
}

/** `undefined` for what JSON leaves out. */
function write(given: unknown, above: object[]): string | undefined {
  const value = hasToJson(given) ? given.toJSON() : given;
  if (typeof value !== "object" || value === null) return stringify(value);
  if (above.includes(value)) throw new TypeError("Converting circular structure to JSON");
  above.push(value);
  const json = Array.isArray(value) ? writeArray(value, above) : writeObject(value, above);
  above.pop();
  return json;
}

function writeArray(values: readonly unknown[], above: object[]): string {
  let json = "[";
  for (let i = 0; i < values.length; i += 1) {
    if (i > 0) json += ",";
    json += write(values[i], above) ?? "null";
  }
  return `${json}]`;
}

function writeObject(value: object, above: object[]): string {
  let json = "";
  for (const key of Object.keys(value).toSorted()) {
    const member = write((value as Record<string, unknown>)[key], above);
    if (member === undefined) continue;
    json += `${json === "" ? "" : ","}${stringify(key)}:${member}`;
  }
  return `{${json}}`;
}

function hasToJson(value: unknown): value is { toJSON(): unknown } {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as { toJSON?: unknown }).toJSON === "function"
  );
}
