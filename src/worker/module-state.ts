/**
 * What a class or function finds in its module and around it, as texts: to tell whether a program has changed any of it since
 * its file was at an earlier line. Follows the functions that it uses.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { types } from "node:util";

/** By name; `null` for what cannot be compared. */
export type ModuleState = Readonly<Record<string, string | null>>;

/**
 * @param scopes - the variables of its scopes, the innermost first
 * @param url - of the file: what it imports is not what it changes, and is compared only if it is data
 */
export function moduleStateOf(
  type: Function,
  scopes: readonly Readonly<Record<string, unknown>>[],
  url: string,
): ModuleState {
  const texts: Record<string, string | null> = {};
  const imported = importsOf(url);
  const followed = new Set<Function>([type]);
  const users: Function[] = [type];
  for (let user = users.pop(); user !== undefined; user = users.pop()) {
    for (const name of wordsOf(user)) {
      const scope = scopes.find((each) => Object.hasOwn(each, name));
      if (!scope || Object.hasOwn(texts, name)) continue;
      const value = valueIn(scope, name);
      if (value === type) continue;
      if (imported.has(name) && !isData(value)) continue;
      const functions: Function[] = [];
      const text = new Fingerprint(functions).of(value);
      texts[name] = text === undefined ? null : brief(text);
      for (const each of functions) {
        if (followed.has(each)) continue;
        if (followed.size >= MAX_FUNCTIONS) texts[name] = null;
        followed.add(each);
        users.push(each);
      }
    }
  }
  return texts;
}

/** Every spawned child is sent the texts: of a long one only its beginning, for messages, and its hash. */
function brief(text: string): string {
  if (text.length <= LONGEST_TEXT) return text;
  const { hash } = process.getBuiltinModule("node:crypto");
  return `${text.slice(0, LONGEST_TEXT)}... ${hash("sha256", text, "base64url")}`;
}

const LONGEST_TEXT = 200;

/** Returns `undefined` for one that is not initialised yet, as Node 20 does: reading it throws in Node 26. */
export function valueIn(variables: Readonly<Record<string, unknown>>, name: string): unknown {
  try {
    return variables[name];
  } catch {
    return undefined;
  }
}

export function wordsOf(type: Function): ReadonlySet<string> {
  return new Set(String(type).match(/[\p{ID_Continue}$]+/gu));
}

/**
 * Whether the text surely uses this variable, and no parameter, local variable or property of the same name: for advice, which
 * must not come without need. What stands in parentheses before a block or an arrow may be a parameter.
 */
export function surelyUses(type: Function, name: string): boolean {
  const text = String(type);
  const word = name.replaceAll("$", "\\$");
  const declared = new RegExp(
    `\\b(const|let|var|class|function)\\s+(${word}(?![\\w$])|[{[][^=;]*(?<![\\w$])${word}(?![\\w$])[^=;]*[}\\]]\\s*=)` +
      `|\\([^()]*(?<![\\w$])${word}(?![\\w$])[^()]*\\)\\s*(\\{|=>)|(?<![\\w$])${word}\\s*=>`,
  );
  if (declared.test(text)) return false;
  return new RegExp(`(?<![\\w$]|[^.]\\.)${word}(?![\\w$]|\\s*:)`).test(text);
}

/** A bundle may hold thousands. */
const MAX_FUNCTIONS = 300;
/** Of all values that one variable holds. */
const MAX_VALUES = 10_000;
const MAX_BYTES = 1024 * 1024;

/** Describes a value with all that it holds; state that is hidden (private fields, closures of libraries) is not seen. */
class Fingerprint {
  readonly #functions: Function[];
  readonly #seen = new Map<object, number>();
  #left = MAX_VALUES;

  /** @param functions - receives those that the value holds */
  constructor(functions: Function[]) {
    this.#functions = functions;
  }

  /** Returns `undefined` if it cannot be described. */
  of(value: unknown): string | undefined {
    try {
      return this.#textOf(value);
    } catch {
      return undefined;
    }
  }

  /** @throws if it cannot be described */
  #textOf(value: unknown): string {
    this.#left -= 1;
    if (this.#left < 0) throw new Error("It holds too much");
    if (typeof value === "string") return JSON.stringify(value);
    if (typeof value === "bigint") return `${value}n`;
    const isObject = (typeof value === "object" && value !== null) || typeof value === "function";
    if (!isObject) return Object.is(value, -0) ? "-0" : String(value);
    const number = this.#seen.get(value);
    if (number !== undefined) return `#${number}`;
    this.#seen.set(value, this.#seen.size);
    if (HIDDEN.some((is) => is(value))) throw new Error("It hides its state");
    if (types.isMap(value)) return `Map [${Array.from(value, (pair) => this.#entry(pair)).join()}]`;
    if (types.isSet(value))
      return `Set [${Array.from(value, (each) => this.#textOf(each)).join()}]`;
    if (types.isDate(value)) return `Date ${value.getTime()}`;
    if (types.isRegExp(value)) return `${value} ${value.lastIndex}`;
    if (ArrayBuffer.isView(value)) return bytesText(value);
    return `${this.#kindOf(value)}${this.#members(value)}`;
  }

  #entry([key, value]: readonly [unknown, unknown]): string {
    return `${this.#textOf(key)}:${this.#textOf(value)}`;
  }

  #kindOf(value: object): string {
    if (typeof value === "function") {
      this.#functions.push(value);
      return String(value);
    }
    if (Array.isArray(value)) return "";
    const name = (value.constructor as { name?: unknown } | undefined)?.name;
    return typeof name !== "string" || name === "Object" ? "" : `${name} `;
  }

  #members(value: object): string {
    const isArray = Array.isArray(value);
    if (isArray && value.length > this.#left) throw new Error("It holds too much");
    const members: string[] = [];
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      if (!property.enumerable) continue;
      if (!("value" in property)) throw new Error("It has an accessor");
      members.push(`${JSON.stringify(name)}:${this.#textOf(property.value)}`);
    }
    if (isArray) return `[${members.join()}]`;
    return typeof value === "function" && members.length === 0 ? "" : `{${members.join()}}`;
  }
}

function bytesText(view: ArrayBufferView): string {
  if (view.byteLength > MAX_BYTES) throw new Error("It holds too much");
  const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return `${Object.prototype.toString.call(view)} ${bytes.toString("base64")}`;
}

const HIDDEN = [
  types.isProxy,
  types.isPromise,
  types.isWeakMap,
  types.isWeakSet,
  types.isGeneratorObject,
  types.isExternal,
];

/** Whether a value is no function, and no object of a library. */
function isData(value: unknown): boolean {
  if (typeof value === "function" || types.isModuleNamespaceObject(value)) return false;
  if (typeof value !== "object" || value === null) return true;
  const prototype = Object.getPrototypeOf(value) as object | null;
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return (Array.isArray(value) || isPlain) && !Object.values(value).some((each) => !isData(each));
}

const IMPORT = /\bimport\s*([^"'();]*?)\s*from\s*["']/g;
const REQUIRE =
  /\b(?:const|let|var)\s+([\w$]+|\{[^}]*\})\s*=\s*(?:await\s+)?(?:require|import)\s*\(/g;

/** Returns the names that the file imports, or has from `require`. */
function importsOf(url: string): ReadonlySet<string> {
  const names = new Set<string>();
  try {
    const text = readFileSync(url.startsWith("file:") ? fileURLToPath(url) : url, "utf8");
    for (const pattern of [IMPORT, REQUIRE]) {
      for (const [, clause] of text.matchAll(pattern)) {
        for (const word of clause!.match(/[\p{ID_Continue}$]+/gu) ?? []) names.add(word);
      }
    }
  } catch {
    // It is no file: everything is compared.
  }
  return names;
}
