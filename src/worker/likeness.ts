/**
 * Checks that a field that cannot travel has the same value in another process, where its constructor sets it anew:
 * compares both as text. A constructor with optional parameters runs there without arguments; a field made from an
 * argument would silently differ.
 */

/** Below this depth, only the class name of an object is compared. */
const MAX_DEPTH = 5;

/** @param isDeep - whether to look into class instances too: their contents may depend on a constructor argument */
export function likenessOf(value: unknown, isDeep: boolean): string {
  try {
    return look(value, isDeep, []);
  } catch {
    // A getter or a proxy threw.
    return "not to be looked at";
  }
}

function look(value: unknown, isDeep: boolean, above: readonly object[]): string {
  if (typeof value === "function")
    return `${value.name} ${Function.prototype.toString.call(value)}`;
  if (typeof value !== "object" || value === null) return `${typeof value} ${String(value)}`;
  if (above.includes(value)) return "itself";
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
  const name = String(prototype?.constructor?.name);
  const isPlain = Array.isArray(value) || prototype === null || prototype === Object.prototype;
  if (above.length === MAX_DEPTH || !(isPlain || isDeep)) return name;
  const within = [...above, value];
  const members = membersOf(value).map(
    ([key, member]) => `${key}: ${look(member, isDeep, within)}`,
  );
  return `${name} {${members.join(", ")}}`;
}

function membersOf(value: object): [string, unknown][] {
  if (value instanceof Map || value instanceof Set) return Object.entries([...value]);
  return Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** Whether the constructor of `type`, or the inherited one, has any parameter, even an optional one. */
export function takesArguments(type: Function): boolean {
  for (let each: unknown = type; typeof each === "function"; each = Object.getPrototypeOf(each)) {
    const text = Function.prototype.toString.call(each);
    const parameters = CONSTRUCTOR.exec(text)?.[1];
    if (parameters !== undefined) return parameters !== ")";
  }
  return false;
}

/** Whether the constructor assigns private fields, judging by the text of the class. */
export function setsPrivateFields(text: string): boolean {
  const start = CONSTRUCTOR.exec(text)?.index;
  if (start === undefined) return false;
  const [indent] = /[ \t]*$/.exec(text.slice(0, start))!;
  const body = text.slice(start);
  const end = body.indexOf(`\n${indent}}`);
  return /\bthis\.#\w+\s*=[^=]/.test(end === -1 ? body : body.slice(0, end));
}

/** Captures the first non-blank character after the parenthesis, or after a comment there. */
const CONSTRUCTOR = /\bconstructor\s*\(\s*(?:\/\*.*?\*\/\s*)?(\S)/s;
