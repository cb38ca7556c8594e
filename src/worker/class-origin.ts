/**
 * Asks V8's inspector where a class or function comes from: its script, and the variables it uses of functions and blocks
 * around it. One at the top level of a module uses none; but a bundler may wrap the module in a function.
 */
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { isProgram } from "./rerun.js";
import { type Scope, type UsedVariables, usedVariables } from "./used-variables.js";

export interface ClassOrigin extends UsedVariables {
  readonly url: string | undefined;
}

/** Advice for what is defined inside a function. */
export const DEFINE_AT_TOP =
  "Define it at the top level of a module and pass what it needs with the items, or as fields of a class (`new Worker({ ... })`)";

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
    const url = hrefOf(scriptUrl(session, type, location?.scriptId));
    const isOfProgram = url !== undefined && isProgram(url, process.argv);
    return { url, ...usedVariables(type, scopes, isOfProgram ? url : undefined) };
  });
}

/** Returns the variables of `originOf` without looking for the script. @param url - of its file */
export function variablesOf(type: Function, url: string): UsedVariables {
  return withSession((session) => {
    const { internalProperties = [] } = properties(session, handle(session, type));
    const scopes = internalProperties.find((each) => each.name === "[[Scopes]]")?.value;
    return usedVariables(type, scopesOf(session, scopes?.objectId), url);
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

/** Returns the URL of a script, for which the inspector may have given a path. */
function hrefOf(url: string | undefined): string | undefined {
  if (!url || url.startsWith("file:") || !path.isAbsolute(url)) return url;
  return pathToFileURL(url).href;
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
