/**
 * The variables that a class or function uses of the functions and blocks around it, and of its module, as texts that can be
 * compared with those in another process.
 */
import { type ModuleState, moduleStateOf, valueIn, wordsOf } from "./module-state.js";

export interface UsedVariables extends MadeWith {
  /** The function or block whose variables it uses, if there is one. */
  readonly maker: string | undefined;
  /** The same of blocks at the top level of a CommonJS module; see `innerScopes`. */
  readonly inBlocks: MadeWith;
  readonly moduleState: ModuleState;
}

/** What makes two classes or functions of equal text different ones. */
export interface MadeWith {
  /** Variables that are plain data, as text. */
  readonly variables: Texts;
  /** Whether it also uses some that cannot be compared, such as functions. */
  readonly hasMore: boolean;
}

export type Texts = Readonly<Record<string, string>>;

/** Variables that a class or function has around it. */
export interface Scope {
  readonly kind: string;
  /** Name of the function that the scope belongs to. */
  readonly name: string | undefined;
  readonly variables: () => Readonly<Record<string, unknown>>;
}

/** @param url - of its file if the state of its module is wanted */
export function usedVariables(
  type: Function,
  scopes: readonly Scope[],
  url: string | undefined,
): UsedVariables {
  const inner = innerScopes(scopes);
  const made = madeWith(type, inner);
  const isCommonJs = inner.length === 0 && !scopes.some(isModule);
  const blocks = isCommonJs ? scopes.filter(({ kind }) => kind === "Block") : [];
  const outermost = scopes.find(isModule) ?? scopes.findLast(isClosure);
  const all = [...inner, ...blocks, ...(outermost ? [outermost] : [])];
  const moduleState =
    url === undefined
      ? {}
      : moduleStateOf(
          type,
          all.map((each) => each.variables()),
          url,
        );
  return { ...made, inBlocks: madeWith(type, blocks), moduleState };
}

function madeWith(
  type: Function,
  scopes: readonly Scope[],
): MadeWith & Pick<UsedVariables, "maker"> {
  const variables: Record<string, string> = {};
  let maker: string | undefined;
  let hasMore = false;
  const named = wordsOf(type);
  // Inner scopes last: their variables hide outer ones of the same name.
  for (const scope of scopes.toReversed()) {
    const all = scope.variables();
    for (const name of Object.keys(all)) {
      const value = named.has(name) ? valueIn(all, name) : type;
      if (value === type) continue;
      maker = scope.kind === "Block" ? "a block" : scope.name ? `${scope.name}()` : "a function";
      const text = plainText(value);
      if (text === undefined) hasMore = true;
      else variables[name] = text;
    }
  }
  return { maker, variables, hasMore };
}

function isModule({ kind }: Scope): boolean {
  return kind === "Module";
}

function isClosure({ kind }: Scope): boolean {
  return kind === "Closure";
}

/**
 * Returns the scopes that one run of the program may create more than once. A CommonJS module is itself a function: its
 * scope is the outermost closure. Blocks in it count only within another closure: test runners wrap modules in a block.
 */
function innerScopes(scopes: readonly Scope[]): readonly Scope[] {
  const atModule = scopes.findIndex(isModule);
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
