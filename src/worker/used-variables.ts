/**
 * The variables that a class or function uses of the functions and blocks around it, and of its module, as text that can be
 * compared with that in another process.
 */

/** Variables that are plain data, as text. */
export interface UsedVariables {
  /** The function or block whose variables it uses, if there is one. */
  readonly maker: string | undefined;
  /** Of functions and blocks: one created with other values is a different class or function. */
  readonly variables: Texts;
  /** Whether it also uses variables of these that cannot be compared, such as functions. */
  readonly hasMore: boolean;
  /** Of the module, also those that its functions use which it calls. A Map or Set is data here too. */
  readonly moduleVariables: Texts;
}

type Texts = Readonly<Record<string, string>>;

/** Variables that a class or function has around it. */
export interface Scope {
  readonly kind: string;
  /** Name of the function that the scope belongs to. */
  readonly name: string | undefined;
  readonly variables: () => Readonly<Record<string, unknown>>;
}

export function usedVariables(type: Function, scopes: readonly Scope[]): UsedVariables {
  const variables: Record<string, string> = {};
  let maker: string | undefined;
  let hasMore = false;
  const named = wordsOf(type);
  // Inner scopes last: their variables hide outer ones of the same name.
  for (const scope of innerScopes(scopes).toReversed()) {
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
  const outermost = scopes.find(({ kind }) => kind === "Module") ?? scopes.findLast(isClosure);
  return { maker, variables, hasMore, moduleVariables: outermost ? textsOf(type, outermost) : {} };
}

/** Returns the variables of a module that a class or function uses, itself or by other functions of the module. */
function textsOf(type: Function, module: Scope): Texts {
  const texts: Record<string, string> = {};
  const all = module.variables();
  const seen = new Set<unknown>([type]);
  const users: Function[] = [type];
  for (let user = users.pop(); user !== undefined; user = users.pop()) {
    for (const name of wordsOf(user)) {
      if (!Object.hasOwn(all, name) || Object.hasOwn(texts, name)) continue;
      const value = valueIn(all, name);
      const text = collectionText(value) ?? plainText(value);
      if (text !== undefined) texts[name] = text;
      else if (typeof value === "function" && !seen.has(value) && seen.size < MAX_FUNCTIONS) {
        seen.add(value);
        users.push(value);
      }
    }
  }
  return texts;
}

/** A bundle may hold thousands of functions. */
const MAX_FUNCTIONS = 300;

function wordsOf(type: Function): ReadonlySet<string> {
  return new Set(String(type).match(/[\p{ID_Continue}$]+/gu));
}

/** Returns the text of a Map or Set of plain data. */
function collectionText(value: unknown): string | undefined {
  if (!(value instanceof Map || value instanceof Set)) return undefined;
  const members = plainText([...value]);
  return members && `${value instanceof Map ? "Map" : "Set"} ${members}`;
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
