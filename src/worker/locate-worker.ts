/**
 * Describes a worker so that another process can recreate it: the file that defines its class or function, the variables of
 * an enclosing function that it uses, and its own fields. Refuses one that another process could confuse with another.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type * as V8 from "node:v8";
import { WorkerModuleError } from "../errors.js";
import { describe } from "../system/describe.js";
import { throwInspectorDenial } from "../system/permission.js";
import { sortsKeys } from "./check-worker.js";
import { type ClassOrigin, countAlive, DEFINE_AT_TOP, originOf } from "./class-origin.js";
import { currentContext } from "./current-context.js";
import { type Definition, definitionOf, isOfFunction, usesThis } from "./function-worker.js";
import { likenessOf, takesArguments } from "./likeness.js";
import type { Supervision, Unsendable, WorkerSource } from "./worker-source.js";

/**
 * @param worker - what was given to `Parallel`
 * @param named - the option `module`: where its class or function is defined
 * @param execArgv - options of Node for the children
 * @param serialization - the option
 * @param isService - whether it is a service, not a worker
 * @param supervision - given if a supervisor is to know the children
 * @throws WorkerModuleError when no other process could load it
 */
export function locateWorker(
  worker: object,
  named: string | URL | undefined,
  execArgv: readonly string[],
  serialization: "json" | "advanced" = "json",
  isService = false,
  supervision?: Supervision,
): WorkerSource {
  const definition = definitionOf(worker);
  const module = named ?? ownModuleOf(definition);
  const isFunction = isOfFunction(worker);
  const text = String(definition);
  const found =
    module === undefined
      ? findModule(definition, isFunction ? "function" : "class")
      : { url: moduleUrl(module), variables: {}, moduleState: {}, hasMore: false, inBlocks: NONE };
  const fields = isFunction
    ? ownFields(definition, false)
    : ownFields(worker, takesArguments(definition));
  return {
    name: definition.name,
    text,
    members: isFunction ? undefined : Object.getOwnPropertyNames(definition.prototype),
    parameters: definition.length,
    ...found,
    // A service that has been changed since is to be another one when it is restarted.
    ...(isService && isChanged(found.url) ? { moduleState: {} } : {}),
    hasTwins: isService || (given.get(text) ?? 1) > 1,
    verbatim: fileHolds(found.url, text),
    isService,
    // A service is loaded again from its file when it is restarted, where its text may be another by then.
    explicit: module !== undefined || isService,
    serialization,
    sortsKeys: sortsKeys(worker, serialization),
    ...fields,
    argv: process.argv,
    execArgv,
    supervision,
    context: currentContext(),
  };
}

/** Key of a class of this package: its module, so that it is found without V8's inspector, which permissions may forbid. */
export const OWN_MODULE = Symbol.for("forkmap.module");

function ownModuleOf(definition: Definition): string | undefined {
  return Object.hasOwn(definition, OWN_MODULE)
    ? (definition as unknown as { readonly [OWN_MODULE]: string })[OWN_MODULE]
    : undefined;
}

function moduleUrl(module: string | URL): string {
  if (module instanceof URL) return module.href;
  return /^[a-z][a-z+.-]+:/i.test(module) && !path.isAbsolute(module)
    ? module
    : pathToFileURL(module).href;
}

const NONE = { variables: {}, hasMore: false };

/** How many classes or functions with the same text have been given to `Parallel`. */
const given = new Map<string, number>();
const counted = new WeakSet<Function>();

export function countDefinition(definition: Function): void {
  if (counted.has(definition)) return;
  counted.add(definition);
  const text = String(definition);
  given.set(text, (given.get(text) ?? 0) + 1);
}

function findModule(
  definition: Definition,
  kind: "class" | "function",
): Omit<ClassOrigin, "url"> & { readonly url: string } {
  const name = definition.name || `The worker's ${kind}`;
  const { url, ...used } = askInspector(definition);
  if (!url) {
    throw new WorkerModuleError(
      "unknown",
      `The module that defines ${definition.name || `the worker's ${kind}`} could not be found: name it with the option \`module\``,
    );
  }
  if (!canLoad(url)) {
    const remedy = url.startsWith("webpack")
      ? 'webpack has put it into an `eval`: set `devtool` of its configuration to "source-map" or false'
      : "put it in a file and export it";
    throw new WorkerModuleError(
      url,
      `${name} is defined in ${url}, which no other process can load: ${remedy}`,
    );
  }
  const where = hiddenPlace(definition, used);
  if (where !== undefined) {
    throw new WorkerModuleError(
      url,
      `${name} is defined inside ${where} and uses its variables, and there is more than one such ${kind}: no other process ` +
        `could know which is meant. ${DEFINE_AT_TOP}`,
    );
  }
  return { url, ...used };
}

/** Returns what holds variables by which the definition differs from others, if these cannot be compared. */
function hiddenPlace(
  definition: Definition,
  { maker, hasMore, inBlocks }: Omit<ClassOrigin, "url">,
): string | undefined {
  if (maker !== undefined && hasMore) return isOneOfSeveral(definition) ? maker : undefined;
  if ((given.get(String(definition)) ?? 1) < 2) return undefined;
  if (usesThis(definition)) return "an object";
  // Vitest puts each module into a block.
  return inBlocks.hasMore && process.env["VITEST"] === undefined ? "a block" : undefined;
}

function askInspector(type: Function): ClassOrigin {
  try {
    return originOf(type);
  } catch (error) {
    return throwInspectorDenial(error);
  }
}

/** Whether several such classes exist: another process would take the first it meets, which may be the wrong one. */
function isOneOfSeveral(type: Function): boolean {
  return (given.get(String(type)) ?? 1) > 1 || countAlive(type) > 1;
}

/** Whether another process can import the module; not code from `node -e`, a prompt or a vm context. */
function canLoad(href: string): boolean {
  return href.startsWith("data:") || (href.startsWith("file:") && existsSync(new URL(href)));
}

/** Whether the file was written after this program had started. */
function isChanged(url: string): boolean {
  try {
    return statSync(fileURLToPath(url)).mtimeMs > performance.timeOrigin;
  } catch {
    return false;
  }
}

function fileHolds(url: string, text: string): boolean {
  try {
    return readFileSync(fileURLToPath(url), "utf8").includes(text);
  } catch {
    return false;
  }
}

/** Returns own fields serialized by structured clone, and the fields that it cannot carry or would silently flatten. */
function ownFields(
  worker: object,
  hasArguments: boolean,
): Pick<WorkerSource, "fields" | "unsendable"> {
  const sendable: Record<string, unknown> = {};
  const unsendable: Record<string, Unsendable> = {};
  for (const [field, value] of Object.entries(worker)) {
    const reason = travelProblem(value);
    if (reason === undefined) sendable[field] = value;
    else unsendable[field] = { reason, likeness: likenessOf(value, hasArguments) };
  }
  return { fields: v8().serialize(sendable).toString("base64"), unsendable };
}

function travelProblem(value: unknown): string | undefined {
  try {
    const reason = unsendableReason(value);
    if (reason === undefined) v8().serialize(value);
    return reason;
  } catch (error) {
    // Also what a getter or a proxy of the user's threw.
    return error instanceof Error ? error.message : `reading it threw ${describe(error)}`;
  }
}

/** Loaded by the first call: children, which only import this package with their worker's module, rarely make one. */
function v8(): typeof V8 {
  return createRequire(import.meta.url)("node:v8") as typeof V8;
}

function unsendableReason(value: unknown, above: readonly unknown[] = []): string | undefined {
  if (typeof value === "function" || typeof value === "symbol") return `it is a ${typeof value}`;
  if (typeof value !== "object" || value === null || above.includes(value)) return undefined;
  if (isCloneable(value)) return undefined;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (!Array.isArray(value) && prototype !== null && prototype !== Object.prototype) {
    return `it is ${describe(value)}, whose prototype would be lost`;
  }
  for (const member of Object.values(value)) {
    const reason = unsendableReason(member, [...above, value]);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Whether structured clone preserves this built-in type; members of Maps and Sets are not checked. */
function isCloneable(value: object): boolean {
  if (ArrayBuffer.isView(value) && !Buffer.isBuffer(value)) return true;
  return CLONEABLE.has(Object.getPrototypeOf(value) as object);
}

const CLONEABLE = new Set<object>(
  [Date, RegExp, Map, Set, Error, ArrayBuffer, Buffer, Boolean, Number, String].map(
    (type) => type.prototype,
  ),
);
