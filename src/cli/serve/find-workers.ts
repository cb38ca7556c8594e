/** Loads the modules named on the command line, and finds the workers that they export. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { describe } from "../../system/describe.js";
import { framesOf } from "../../wire/stack-frames.js";
import { UsageError } from "../cli-command.js";
import { placeOfSyntaxError } from "./syntax-error-place.js";

/** Why this machine cannot serve; the message is for the user, and needs no stack. */
export class ServeError extends Error {}

/** Loads what `--import` names, as `node --import` does. @returns the URLs, for children */
export async function importFirst(specifiers: readonly string[]): Promise<string[]> {
  const urls = specifiers.map(urlOf);
  for (const [i, url] of urls.entries()) await load(url, `--import ${specifiers[i]}`);
  return urls;
}

/**
 * Returns the workers that the modules export, each once: instances and functions whose class or which themselves have a
 * `workerName`, and an instance of each other class that has one.
 *
 * @throws UsageError if a file does not exist
 * @throws ServeError if a module cannot be loaded, or exports no worker with a name
 */
export async function findWorkers(modules: readonly string[]): Promise<object[]> {
  for (const path of modules) {
    if (!existsSync(path))
      throw new UsageError(`${path} does not exist: expected a module that exports workers`);
  }
  const found = new Set<object>();
  for (const path of modules) {
    const exported = withoutWrapper(await load(pathToFileURL(resolve(path)).href, path));
    const workers = workersOf(exported, path);
    if (workers.length === 0) throw new ServeError(`${path} ${whyNone(exported)}`);
    for (const worker of workers) found.add(worker);
  }
  return [...found];
}

type Exports = Readonly<Record<string, unknown>>;

async function load(url: string, name: string): Promise<Exports> {
  try {
    return (await import(url)) as Exports;
  } catch (error) {
    const reason = `${reasonOf(error)}${await placeOf(error, url)}`;
    throw new ServeError(`${name} could not be loaded: ${reason}`, { cause: error });
  }
}

/** Some loaders give a module that is CommonJS as one export, whose properties are getters. */
function withoutWrapper(exported: Exports): Exports {
  const { default: all, ...others } = exported;
  const isWrapper = typeof all === "object" && all !== null && !isNamedInstance(all);
  const names = Object.keys(others).filter((name) => name !== "module.exports");
  return isWrapper && names.length === 0 ? { ...(all as Exports) } : exported;
}

/** What Node says of TypeScript that it cannot run by itself. */
const NEEDS_LOADER = new Set([
  "ERR_UNKNOWN_FILE_EXTENSION",
  "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX",
  "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING",
]);

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return `it threw ${describe(error)}`;
  const { code } = error as { code?: unknown };
  const isForLoader = NEEDS_LOADER.has(code as string) && /\.[cm]?tsx?\b/.test(error.message);
  if (!isForLoader) return `${error.name}: ${error.message}${userFrames(error)}`;
  return `${error.message.split("\n", 1)[0]}. Node runs TypeScript by itself from 22.18, if types are all that is to be removed: else install tsx and add --import tsx`;
}

async function placeOf(error: unknown, url: string): Promise<string> {
  const place = error instanceof SyntaxError ? await placeOfSyntaxError(error, url) : undefined;
  return place === undefined ? "" : `\n    at ${place}`;
}

/** Without those of Node's loader, which follow. */
function userFrames(error: Error): string {
  return framesOf(error).split(/\n {4}at (?:async )?[\w.#]+ \(node:internal/, 1)[0]!;
}

function urlOf(specifier: string): string {
  if (/^(file|data|node):/.test(specifier)) return specifier;
  const here = pathToFileURL(resolve("./"));
  if (/^\.{0,2}\//.test(specifier)) return new URL(specifier, `${here.href}/`).href;
  try {
    return resolveFrom(`${here.href}/forkmap-serve.js`, specifier);
  } catch {
    throw new ServeError(
      `--import ${specifier}: there is no such package in ${resolve("./")} or above: npm install ${specifier}`,
    );
  }
}

/** As `import` would from a module in the working directory; `import.meta.resolve` cannot be told from where. */
function resolveFrom(parent: string, specifier: string): string {
  const found = createRequire(parent).resolve(specifier);
  return found.startsWith("/") ? pathToFileURL(found).href : found;
}

function workersOf(exported: Exports, path: string): object[] {
  const values = [...new Set(Object.values(exported))];
  const instances = values.filter(isNamedInstance);
  const named = values.filter(isNamed);
  const functions = named.filter((value) => !isClass(value));
  const classes = named.filter(isClass);
  const rest = classes.filter((type) => !instances.some((each) => each.constructor === type));
  return [...instances, ...functions, ...rest.map((type) => instanceOf(type, path))];
}

type Class = new () => object;

function instanceOf(type: Class, path: string): object {
  if (type.length > 0) {
    throw new ServeError(
      `The constructor of the class ${type.name}, which ${path} exports, expects ${type.length} ${type.length === 1 ? "argument" : "arguments"}, and serve has none: export an instance, such as export const worker = new ${type.name}(...)`,
    );
  }
  try {
    return new type();
  } catch (error) {
    throw new ServeError(
      `new ${type.name}(), a class that ${path} exports, failed: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}

/** An inherited name does not count: the subclass does other work. */
function isNamed(value: unknown): value is Function {
  return typeof value === "function" && Object.hasOwn(value, "workerName");
}

function isNamedInstance(value: unknown): value is object {
  return typeof value === "object" && value !== null && isNamed(value.constructor);
}

function isClass(value: unknown): value is Class {
  return typeof value === "function" && /^class\b/.test(String(value));
}

function whyNone(exported: Exports): string {
  const all = Object.entries(exported).map(([name, value]) => inWords(name, value));
  const found = all.length === 0 ? "it exports nothing" : `it exports ${all.join(", ")}`;
  const type = Object.values(exported).find(isClass);
  const remedy = type
    ? `write static workerName = "${type.name.toLowerCase()}@1" into the class`
    : 'write static workerName = "resize@1" into the class of a worker, or resize.workerName = "resize@1" below a function';
  return `exports no worker with a name that all machines know; ${found}: ${remedy}`;
}

function inWords(name: string, value: unknown): string {
  if (isClass(value)) return `the class ${name}`;
  if (typeof value === "function") return `the function ${name}`;
  return value === null ? `${name} (null)` : `the ${typeof value} ${name}`;
}
