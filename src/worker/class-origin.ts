/**
 * Asks V8's inspector where a class or function comes from: its script, and the variables it uses of functions and blocks
 * around it. One at the top level of a module uses none; but a bundler may wrap the module in a function.
 */
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";

export interface ClassOrigin extends UsedVariables {
  readonly url: string | undefined;
  /** The function or block whose variables it uses, if there is one. */
  readonly maker: string | undefined;
  /** Whether it also uses variables that cannot be compared, such as functions. */
  readonly hasMore: boolean;
}

/** Variables that are plain data, as text. */
export interface UsedVariables {
  /** Of functions and blocks: one created with other values is a different class or function. */
  readonly variables: Readonly<Record<string, string>>;
  /** Of the module. */
  readonly moduleVariables: Readonly<Record<string, string>>;
}

/** Advice for what is defined inside a function. */
export const DEFINE_AT_TOP =
  "Define it at the top level of a module and pass what it needs as fields (`new Worker({ ... })`) or with the items";

/**
 * Returns the origin of a class. The first time takes some 20 ms, once per class, while the fork server boots on
 * another processor. (Listing the scripts by coverage takes 5 ms, but omits scripts whose functions V8 has dropped.)
 */
export function originOf(type: Function): ClassOrigin {
  return withSession((session) => {
    const { internalProperties = [] } = properties(session, handle(session, type));
    const property = (name: string) => internalProperties.find((each) => each.name === name)?.value;
    const location = property("[[FunctionLocation]]")?.value as { scriptId: string } | undefined;
    const scopes = scopesOf(session, property("[[Scopes]]")?.objectId);
    return { url: scriptUrl(session, type, location?.scriptId), ...usedOf(type, scopes) };
  });
}

/** Returns the variables of `originOf` without looking for the script. */
export function variablesOf(type: Function): UsedVariables {
  return withSession((session) => {
    const { internalProperties = [] } = properties(session, handle(session, type));
    const scopes = internalProperties.find((each) => each.name === "[[Scopes]]")?.value;
    return usedOf(type, scopesOf(session, scopes?.objectId));
  });
}

/** Counts the living classes with this name and text. V8 collects all garbage first: 0.1 s and more. */
export function countAlive(type: Function): number {
  let root: object = type;
  for (let above = type as object | null; above !== null; above = Object.getPrototypeOf(above)) {
    // Ends at the one before `Object.prototype`: the `Function.prototype` of the class's own realm.
    if (Object.getPrototypeOf(above) !== null) root = above;
  }
  return withSession((session) => {
    const found = post<Inspector.Runtime.QueryObjectsReturnType>(session, "Runtime.queryObjects", {
      prototypeObjectId: handle(session, root),
    });
    // Includes objects that are not functions but have one as their prototype.
    const inheriting = valueOf(session, found.objects.objectId!) as unknown[];
    const text = String(type);
    return inheriting.filter(
      (each) => typeof each === "function" && each.name === type.name && String(each) === text,
    ).length;
  });
}

interface Scope {
  readonly kind: string;
  /** Name of the function that the scope belongs to. */
  readonly name: string | undefined;
  readonly variables: () => Readonly<Record<string, unknown>>;
}

interface ScopeObject {
  readonly object: Readonly<Record<string, unknown>>;
}

function scopesOf(session: Inspector.Session, id: string | undefined): Scope[] {
  return properties(session, id).result.flatMap(({ value }) => {
    const [, kind, name] = /^(\w+)(?: \((.*)\))?$/.exec(value?.description ?? "") ?? [];
    if (kind === undefined) return [];
    const variables = () => (valueOf(session, value!.objectId!) as ScopeObject).object;
    return [{ kind, name, variables }];
  });
}

function usedOf(type: Function, scopes: readonly Scope[]): Omit<ClassOrigin, "url"> {
  const variables: Record<string, string> = {};
  const moduleVariables: Record<string, string> = {};
  let maker: string | undefined;
  let hasMore = false;
  const named = new Set(String(type).match(/[\p{ID_Continue}$]+/gu));
  const inner = innerScopes(scopes);
  const outermost = scopes.find(({ kind }) => kind === "Module") ?? scopes.findLast(isClosure);
  // Inner scopes last: their variables hide outer ones of the same name.
  for (const scope of [...inner, ...(outermost ? [outermost] : [])].toReversed()) {
    const all = scope.variables();
    for (const name of Object.keys(all)) {
      const value = named.has(name) ? valueIn(all, name) : type;
      if (value === type) continue;
      const text = plainText(value);
      if (scope === outermost) {
        if (text !== undefined) moduleVariables[name] = text;
        continue;
      }
      maker = scope.kind === "Block" ? "a block" : scope.name ? `${scope.name}()` : "a function";
      if (text === undefined) hasMore = true;
      else variables[name] = text;
    }
  }
  return { maker, variables, moduleVariables, hasMore };
}

/** Returns `undefined` for one that is not initialised yet, as Node 20 does: reading it throws in Node 26. */
function valueIn(variables: Readonly<Record<string, unknown>>, name: string): unknown {
  try {
    return variables[name];
  } catch {
    return undefined;
  }
}

function isClosure({ kind }: Scope): boolean {
  return kind === "Closure";
}

/**
 * Returns the scopes that one run of the program may create more than once. A CommonJS module is itself a function: its
 * scope is the outermost closure. Blocks in it count only within another closure: test runners wrap modules in a block.
 */
function innerScopes(scopes: readonly Scope[]): readonly Scope[] {
  const atModule = scopes.findIndex(({ kind }) => kind === "Module");
  if (atModule !== -1) return scopes.slice(0, atModule);
  const last = scopes.findLastIndex(isClosure);
  const inner = scopes.slice(0, Math.max(last, 0));
  return inner.some(isClosure) ? inner : [];
}

/**
 * Returns a text that is equal for equal values in all processes; `undefined` for functions, symbols, instances, and what
 * has more than `MAX_MEMBERS` members.
 */
function plainText(
  value: unknown,
  above: readonly unknown[] = [],
  budget = { members: MAX_MEMBERS },
): string | undefined {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null) {
    return Object.is(value, -0) ? "-0" : typeof value === "bigint" ? `${value}n` : String(value);
  }
  if (above.includes(value) || above.length > MAX_DEPTH) return undefined;
  const isArray = Array.isArray(value);
  if (!isArray && !isPlain(value)) return undefined;
  const members: string[] = [];
  if (isArray && value.length > budget.members) return undefined;
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
    if (isArray && name === "length") continue;
    budget.members -= 1;
    if (budget.members < 0) return undefined;
    const text =
      "value" in property ? plainText(property.value, [...above, value], budget) : undefined;
    if (text === undefined) return undefined;
    members.push(`${JSON.stringify(name)}:${text}`);
  }
  return isArray ? `[${members.join()}]` : `{${members.join()}}`;
}

const MAX_DEPTH = 20;
const MAX_MEMBERS = 10_000;

/** Whether the object is a plain one, of any realm. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return (
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"))
  );
}

const urls = new WeakMap<Function, string | undefined>();

function scriptUrl(
  session: Inspector.Session,
  type: Function,
  scriptId: string | undefined,
): string | undefined {
  if (urls.has(type) || scriptId === undefined) return urls.get(type);
  let url: string | undefined;
  session.on("Debugger.scriptParsed", ({ params }) => {
    if (params.scriptId === scriptId) url = params.url;
  });
  post(session, "Debugger.enable", {});
  urls.set(type, url);
  return url;
}

function withSession<T>(ask: (session: Inspector.Session) => T): T {
  const session = new (inspector().Session)();
  session.connect();
  try {
    return ask(session);
  } finally {
    session.disconnect();
  }
}

/**
 * The inspector takes an object as an expression, which it evaluates in Node's main context. Our context may be another
 * one (a test runner's), whose globals are not visible there; the exports of Node's modules are the same in all.
 */
const KEY = "forkmap.handedOver";
const HANDED_OVER = `process.getBuiltinModule("node:inspector")["${KEY}"]`;

function inspector(): typeof Inspector {
  return createRequire(import.meta.url)("node:inspector") as typeof Inspector;
}

function handle(session: Inspector.Session, value: object): string {
  const shared = inspector() as unknown as Record<string, unknown>;
  shared[KEY] = value;
  try {
    const { result } = post<Inspector.Runtime.EvaluateReturnType>(session, "Runtime.evaluate", {
      expression: HANDED_OVER,
    });
    return result.objectId!;
  } finally {
    delete shared[KEY];
  }
}

function valueOf(session: Inspector.Session, objectId: string): unknown {
  let value: unknown;
  const shared = inspector() as unknown as Record<string, unknown>;
  shared[KEY] = (given: unknown) => (value = given);
  try {
    const functionDeclaration = `function () { ${HANDED_OVER}(this); }`;
    post(session, "Runtime.callFunctionOn", { objectId, functionDeclaration });
  } finally {
    delete shared[KEY];
  }
  return value;
}

function properties(session: Inspector.Session, objectId: string | undefined) {
  if (objectId === undefined) return { result: [] };
  return post<Inspector.Runtime.GetPropertiesReturnType>(session, "Runtime.getProperties", {
    objectId,
    ownProperties: true,
  });
}

/** Sends a command and returns its answer: an inspector of the same process answers before `session.post` returns. */
function post<Answer>(session: Inspector.Session, method: string, parameters: object): Answer {
  let answer: Answer | undefined;
  session.post(method, parameters, (error: Error | null, result?: unknown) => {
    if (error) throw error;
    answer = result as Answer;
  });
  return answer as Answer;
}
