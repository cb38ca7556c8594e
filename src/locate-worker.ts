/**
 * Describes a worker so that another process can have it: the file that defines its class, found through the inspector,
 * and its own fields. Classes that only exist inside a call of a function are refused here: no other process can make
 * them.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as Inspector from "node:inspector";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { serialize } from "node:v8";
import { currentContext } from "./current-context.js";
import { WorkerModuleError } from "./errors.js";
import type { WorkerSource } from "./protocol.js";

/**
 * @param worker - the instance given to `Parallel`
 * @param module - where its class is, when the user says so
 * @param execArgv - options of Node for the children
 * @throws WorkerModuleError when no other process could have the class
 */
export function locateWorker(
  worker: object,
  module: string | URL | undefined,
  execArgv: readonly string[],
): WorkerSource {
  const type = worker.constructor;
  const text = String(type);
  const url = module === undefined ? findModule(type) : moduleUrl(module);
  return {
    name: type.name,
    text,
    members: Object.getOwnPropertyNames(type.prototype),
    url,
    verbatim: fileHolds(url, text),
    explicit: module !== undefined,
    ...ownFields(worker),
    argv: process.argv,
    execArgv,
    context: currentContext(),
  };
}

function moduleUrl(module: string | URL): string {
  if (module instanceof URL) return module.href;
  return /^[a-z][a-z+.-]+:/i.test(module) && !path.isAbsolute(module)
    ? module
    : pathToFileURL(module).href;
}

function findModule(type: Function): string {
  const { url, scopes } = inspect(type);
  if (!url) {
    throw new WorkerModuleError(
      "unknown",
      `The module that defines ${type.name || "the worker's class"} could not be found: name it with the option \`module\``,
    );
  }
  const href = url.startsWith("file:") || !path.isAbsolute(url) ? url : pathToFileURL(url).href;
  if (!canLoad(href)) {
    throw new WorkerModuleError(
      href,
      `${type.name || "The worker's class"} is defined in ${href}, which no other process can load: put it in a file and export it`,
    );
  }
  const maker = enclosingFunction(scopes);
  if (maker !== undefined) {
    throw new WorkerModuleError(
      href,
      `${type.name || "The worker's class"} is defined inside ${maker} and uses its variables, which no other process has. ` +
        "Define it at the top level of a module and pass what it needs as fields (`new Worker({ ... })`) or with the items",
    );
  }
  return href;
}

/** Not what came from `node -e`, a prompt or a vm context. */
function canLoad(href: string): boolean {
  return href.startsWith("data:") || (href.startsWith("file:") && existsSync(new URL(href)));
}

/**
 * The function whose variables the class uses, if there is one. A CommonJS module is itself a function: its scope is
 * the outermost closure.
 */
function enclosingFunction(scopes: readonly string[]): string | undefined {
  const closures = scopes.filter((scope) => scope.startsWith("Closure"));
  const ofModule = scopes.includes("Module") ? 0 : 1;
  if (closures.length <= ofModule) return undefined;
  return /\((.+)\)/.exec(closures[0]!)?.[1]?.concat("()") ?? "a function";
}

interface Known {
  readonly url: string | undefined;
  readonly scopes: readonly string[];
}

const known = new WeakMap<Function, Known>();

/**
 * What V8 knows of a function: its script and the scopes it sees. Takes some 20 ms, once per class, while the fork
 * server boots on another processor. (Listing the scripts by coverage takes 5, but leaves out those whose functions
 * V8 has dropped.)
 */
function inspect(type: Function): Known {
  const found = known.get(type) ?? ask(type);
  known.set(type, found);
  return found;
}

function ask(type: Function): Known {
  const { Session } = createRequire(import.meta.url)("node:inspector") as typeof Inspector;
  const session = new Session();
  const scripts = new Map<string, string>();
  session.connect();
  session.on("Debugger.scriptParsed", ({ params }) => scripts.set(params.scriptId, params.url));
  globals[KEY] = type;
  try {
    const { result } = post<Inspector.Runtime.EvaluateReturnType>(session, "Runtime.evaluate", {
      expression: `globalThis.${KEY}`,
    });
    const internal = properties(session, result.objectId).internalProperties ?? [];
    const property = (name: string) => internal.find((each) => each.name === name)?.value;
    const location = property("[[FunctionLocation]]")?.value as { scriptId: string } | undefined;
    const scopes = properties(session, property("[[Scopes]]")?.objectId).result;
    post(session, "Debugger.enable", {});
    return {
      url: location && scripts.get(location.scriptId),
      scopes: scopes.map((scope) => scope.value?.description ?? ""),
    };
  } finally {
    delete globals[KEY];
    session.disconnect();
  }
}

/** The only way to hand the inspector an object is by a name it can evaluate. */
const KEY = "__forkmapWorkerClass";
const globals = globalThis as Record<string, unknown>;

function properties(session: Inspector.Session, objectId: string | undefined) {
  return post<Inspector.Runtime.GetPropertiesReturnType>(session, "Runtime.getProperties", {
    objectId,
    ownProperties: true,
  });
}

/** In process, the inspector answers before `post` returns. */
function post<Answer>(session: Inspector.Session, method: string, parameters: object): Answer {
  let answer: Answer | undefined;
  session.post(method, parameters, (error: Error | null, result?: unknown) => {
    if (error) throw error;
    answer = result as Answer;
  });
  return answer as Answer;
}

function fileHolds(url: string, text: string): boolean {
  try {
    return readFileSync(fileURLToPath(url), "utf8").includes(text);
  } catch {
    return false;
  }
}

/** Own fields by structured clone, and those it cannot carry or would silently flatten. */
function ownFields(worker: object): Pick<WorkerSource, "fields" | "unsendable"> {
  const sendable: Record<string, unknown> = {};
  const unsendable: Record<string, string> = {};
  for (const [field, value] of Object.entries(worker)) {
    const reason = unsendableReason(value) ?? cloneProblem(value);
    if (reason === undefined) sendable[field] = value;
    else unsendable[field] = reason;
  }
  return { fields: serialize(sendable).toString("base64"), unsendable };
}

function cloneProblem(value: unknown): string | undefined {
  try {
    serialize(value);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function unsendableReason(value: unknown, above: readonly unknown[] = []): string | undefined {
  if (typeof value === "function" || typeof value === "symbol") return `it is a ${typeof value}`;
  if (typeof value !== "object" || value === null || above.includes(value)) return undefined;
  if (isCloneable(value)) return undefined;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (!Array.isArray(value) && prototype !== null && prototype !== Object.prototype) {
    return `it is an instance of ${prototype.constructor.name}`;
  }
  for (const member of Object.values(value)) {
    const reason = unsendableReason(member, [...above, value]);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** The built-in types that structured clone keeps whole; Maps and Sets are taken as they are. */
function isCloneable(value: object): boolean {
  if (ArrayBuffer.isView(value) && !Buffer.isBuffer(value)) return true;
  return CLONEABLE.has(Object.getPrototypeOf(value) as object);
}

const CLONEABLE = new Set<object>(
  [Date, RegExp, Map, Set, Error, ArrayBuffer, Buffer, Boolean, Number, String].map(
    (type) => type.prototype,
  ),
);
