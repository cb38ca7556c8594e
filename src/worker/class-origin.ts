/**
 * Where a class comes from, as V8 tells it: its script, and the variables of functions and blocks that it uses. A class at
 * the top level of a module has none; one within a bundle's module has those of the function that the bundler has put around it.
 */
import { createRequire } from "node:module";
import type * as Inspector from "node:inspector";

export interface ClassOrigin {
  readonly url: string | undefined;
  /** The function or block whose variables the class uses, if there is one. */
  readonly maker: string | undefined;
  /** Those of the variables that are plain data, as text: made with others, the class is another one. */
  readonly variables: Readonly<Record<string, string>>;
  /** Whether there are others, such as functions, which cannot be compared. */
  readonly hasMore: boolean;
}

/**
 * Takes some 20 ms the first time, once per class, while the fork server boots on another processor. (Listing the scripts
 * by coverage takes 5, but leaves out those whose functions V8 has dropped.)
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

/** As the variables of `originOf`, without looking for the script. */
export function variablesOf(type: Function): Readonly<Record<string, string>> {
  return withSession((session) => {
    const { internalProperties = [] } = properties(session, handle(session, type));
    const scopes = internalProperties.find((each) => each.name === "[[Scopes]]")?.value;
    return usedOf(type, scopesOf(session, scopes?.objectId)).variables;
  });
}

/** Counts the classes with this text that are alive. Collects all garbage first: 0.1 s and more. */
export function countAlive(type: Function): number {
  let root: object = type;
  for (let above = type as object | null; above !== null; above = Object.getPrototypeOf(above)) {
    // The one before `Object.prototype`: the `Function.prototype` of the class's own realm.
    if (Object.getPrototypeOf(above) !== null) root = above;
  }
  return withSession((session) => {
    const found = post<Inspector.Runtime.QueryObjectsReturnType>(session, "Runtime.queryObjects", {
      prototypeObjectId: handle(session, root),
    });
    // With objects that have a function as their prototype.
    const inheriting = valueOf(session, found.objects.objectId!) as unknown[];
    const text = String(type);
    return inheriting.filter(
      (each) => typeof each === "function" && each.name === type.name && String(each) === text,
    ).length;
  });
}

interface Scope {
  readonly kind: string;
  /** The function around it. */
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
  let maker: string | undefined;
  let hasMore = false;
  const named = new Set(String(type).match(/[\p{ID_Continue}$]+/gu));
  // Inner ones last: theirs hide those of the same name.
  for (const scope of innerScopes(scopes).toReversed()) {
    for (const [name, value] of Object.entries(scope.variables())) {
      if (!named.has(name) || value === type) continue;
      maker = scope.kind === "Block" ? "a block" : scope.name ? `${scope.name}()` : "a function";
      const text = plainText(value);
      if (text === undefined) hasMore = true;
      else variables[name] = text;
    }
  }
  return { maker, variables, hasMore };
}

/**
 * Those that may be there more than once in a run of the program. A CommonJS module is itself a function: its scope is the
 * outermost closure. Blocks within it do not count without another one, as test runners put a module into a block.
 */
function innerScopes(scopes: readonly Scope[]): readonly Scope[] {
  const atModule = scopes.findIndex(({ kind }) => kind === "Module");
  if (atModule !== -1) return scopes.slice(0, atModule);
  const last = scopes.findLastIndex(({ kind }) => kind === "Closure");
  const inner = scopes.slice(0, Math.max(last, 0));
  return inner.some(({ kind }) => kind === "Closure") ? inner : [];
}

/** Of what is the same in another process when its text is: `undefined` of functions, and of objects with a class. */
function plainText(value: unknown, above: readonly unknown[] = []): string | undefined {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null) {
    return Object.is(value, -0) ? "-0" : typeof value === "bigint" ? `${value}n` : String(value);
  }
  if (above.includes(value) || above.length > MAX_DEPTH) return undefined;
  const isArray = Array.isArray(value);
  if (!isArray && !isPlain(value)) return undefined;
  const members: string[] = [];
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
    if (isArray && name === "length") continue;
    const text = "value" in property ? plainText(property.value, [...above, value]) : undefined;
    if (text === undefined) return undefined;
    members.push(`${JSON.stringify(name)}:${text}`);
  }
  return isArray ? `[${members.join()}]` : `{${members.join()}}`;
}

const MAX_DEPTH = 20;

/** Of any realm. */
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
 * The inspector takes an object by a name that it can evaluate, and evaluates in Node's own context. Ours may be another
 * one (of a test runner), whose globals it does not see; the exports of Node's modules are the same in all.
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

/** In process, the inspector answers before `post` returns. */
function post<Answer>(session: Inspector.Session, method: string, parameters: object): Answer {
  let answer: Answer | undefined;
  session.post(method, parameters, (error: Error | null, result?: unknown) => {
    if (error) throw error;
    answer = result as Answer;
  });
  return answer as Answer;
}
