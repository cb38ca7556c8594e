/**
 * Converts a value thrown in a child to JSON, and back to a thrown value in the parent. Must survive anything: cycles,
 * getters that throw, functions, a hostile toJSON, causes of causes, and values that are not errors at all.
 */
import { withoutOwnFrames } from "./stack-frames.js";

/** JSON form of a thrown value. */
export type ErrorRecord =
  | { error: ErrorParts }
  | { value: Json }
  | { primitive: "undefined" | "number" | "bigint" | "symbol" | "function"; text: string };

interface ErrorParts {
  name: string;
  message: string;
  stack: string;
  /** Name of the error's class, which may differ from `name`. */
  kind: string;
  props: { [key: string]: Json };
  /** Those of `props` that are not enumerable: they are not printed with the error. */
  hidden?: string[];
  cause?: ErrorRecord;
  errors?: ErrorRecord[];
}

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Deeper than any cause chain seen in practice; bounds what a cycle can cost. */
const MAX_DEPTH = 8;
/** A stack or message beyond this is noise; the cut is marked. */
const MAX_TEXT = 256 * 1024;
const MAX_MEMBERS = 1000;

export function recordError(thrown: unknown, depth = 0): ErrorRecord {
  switch (typeof thrown) {
    case "string":
      return { value: cut(thrown) };
    case "boolean":
      return { value: thrown };
    case "number":
      // JSON has no NaN, Infinity or -0.
      return Number.isFinite(thrown) && !Object.is(thrown, -0)
        ? { value: thrown }
        : { primitive: "number", text: Object.is(thrown, -0) ? "-0" : String(thrown) };
    case "undefined":
      return { primitive: "undefined", text: "" };
    case "bigint":
      return { primitive: "bigint", text: String(thrown) };
    case "symbol":
      return { primitive: "symbol", text: thrown.description ?? "" };
    case "function":
      return { primitive: "function", text: cut(safely(() => String(thrown)) ?? "function") };
    default:
      if (thrown === null) return { value: null };
      return isError(thrown as object)
        ? { error: recordParts(thrown as Error, depth) }
        : { value: readable(thrown as object) };
  }
}

/** Returns what JSON can carry of a thrown value that is no error. A revoked Proxy cannot even be looked at. */
function readable(thrown: object): Json {
  const json = safely(() => toJson(thrown, 0, new Set()));
  return json === undefined ? "(a thrown value that cannot be read)" : json;
}

function isError(value: object): value is Error {
  // An error of another realm (vm, structured clone) is an error too; instanceof alone would miss it.
  return (
    safely(() => value instanceof Error) === true ||
    safely(() => Object.prototype.toString.call(value)) === "[object Error]" ||
    safely(() => value instanceof DOMException) === true
  );
}

function recordParts(error: Error, depth: number): ErrorParts {
  const parts: ErrorParts = {
    name: text(() => error.name, "Error"),
    message: text(() => error.message, ""),
    stack: withoutOwnFrames(text(() => error.stack, "")),
    kind: text(() => error.constructor.name, "Error"),
    props: {},
  };
  const { props } = parts;
  const hidden = hiddenKeys(error);
  if (hidden.length > 0) parts.hidden = hidden;
  for (const key of [...(safely(() => Object.keys(error)) ?? []), ...hidden]) {
    if (STANDARD.has(key)) continue;
    const value = safely(() => (error as unknown as Record<string, unknown>)[key]);
    if (value !== undefined) props[key] = toJson(value, 0, new Set([error]));
  }
  // DOMException keeps its code on the prototype.
  const code = safely(() => (error as { code?: unknown }).code);
  if (code !== undefined) props["code"] = toJson(code, 0, new Set());
  if (depth >= MAX_DEPTH) return parts;
  if (safely(() => "cause" in error))
    parts.cause = recordError(
      safely(() => error.cause),
      depth + 1,
    );
  const errors = safely(() => (error as { errors?: unknown }).errors);
  if (Array.isArray(errors)) {
    parts.errors = errors.slice(0, MAX_MEMBERS).map((each) => recordError(each, depth + 1));
  }
  return parts;
}

/** Returns the properties that a program may read but not see, such as the `issues` of zod; not those marked as private. */
function hiddenKeys(error: Error): string[] {
  const keys = safely(() => Object.getOwnPropertyNames(error)) ?? [];
  return keys.filter((key) => {
    if (STANDARD.has(key) || key.startsWith("_")) return false;
    const property = safely(() => Object.getOwnPropertyDescriptor(error, key));
    return property?.enumerable === false && typeof property.value !== "function";
  });
}

const STANDARD = new Set(["name", "message", "stack", "cause", "errors"]);

function toJson(value: unknown, depth: number, above: Set<unknown>): Json {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return cut(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value !== "object")
    return safely(() => (value as bigint | symbol).toString()) ?? typeof value;
  if (above.has(value)) return "[Circular]";
  if (depth >= MAX_DEPTH) return "[Object]";
  if (isError(value)) return `${text(() => value.name, "Error")}: ${text(() => value.message, "")}`;
  const within = new Set(above).add(value);
  if (Array.isArray(value))
    return value.slice(0, MAX_MEMBERS).map((each) => toJson(each, depth + 1, within));
  if (value instanceof Date) return text(() => value.toISOString(), "Invalid Date");
  const plain: { [key: string]: Json } = {};
  for (const key of (safely(() => Object.keys(value)) ?? []).slice(0, MAX_MEMBERS)) {
    const member = safely(() => (value as Record<string, unknown>)[key]);
    if (member !== undefined && typeof member !== "function")
      plain[key] = toJson(member, depth + 1, within);
  }
  return plain;
}

function text(read: () => unknown, fallback: string): string {
  const value = safely(read);
  return typeof value === "string" ? cut(value) : fallback;
}

function cut(value: string): string {
  return value.length <= MAX_TEXT
    ? value
    : `${value.slice(0, MAX_TEXT)}... (${value.length} characters)`;
}

function safely<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Returns the record with long texts cut and details dropped, for a place with little room. */
export function shortRecord(record: ErrorRecord, room: number): ErrorRecord {
  if (!("error" in record)) return { value: "(a thrown value too long to keep)" };
  const { name, message, stack, kind, props } = record.error;
  const code = props["code"];
  return {
    error: {
      name: name.slice(0, 100),
      message: message.slice(0, room / 4),
      stack: stack.slice(0, room / 4),
      kind: kind.slice(0, 100),
      props: typeof code === "string" ? { code: code.slice(0, 100) } : {},
    },
  };
}

/** Recreates a thrown value: errors with their built-in class if there is one, a function as text. Never throws. */
export function reviveError(record: ErrorRecord): unknown {
  try {
    return revive(record);
  } catch {
    // A child can write any JSON.
    return new Error("(an error whose record could not be read)");
  }
}

function revive(record: ErrorRecord): unknown {
  if ("value" in record) return record.value;
  if ("primitive" in record) {
    if (record.primitive === "undefined") return undefined;
    if (record.primitive === "number") return Number(record.text);
    if (record.primitive === "bigint") return BigInt(record.text);
    if (record.primitive === "symbol") return Symbol(record.text);
    return record.text;
  }
  const { name, message, stack, kind, props, hidden = [], cause, errors } = record.error;
  if (![name, message, stack].every((each) => typeof each === "string")) throw new TypeError();
  const options = cause === undefined ? undefined : { cause: revive(cause) };
  const error = errors
    ? new AggregateError(errors.map(revive), message, options)
    : new (BUILT_IN.get(kind) ?? Error)(message, options);
  const own = (key: string, value: unknown, enumerable: boolean) =>
    Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true });
  if (error.name !== name) own("name", name, false);
  own("stack", stack, false);
  for (const [key, value] of Object.entries(props)) {
    if (!STANDARD.has(key)) own(key, value, !hidden.includes(key));
  }
  return error;
}

const BUILT_IN = new Map<string, ErrorConstructor>(
  [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((type) => [
    type.name,
    type,
  ]),
);
