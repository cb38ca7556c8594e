/**
 * The folder holds what recreates the user's worker in another process and runs its `preload`. Here: imports the module
 * that defines the worker's class or function and uses its export, or runs the program again and takes the worker that it
 * passes to `new Parallel`. The worker's own fields come from the parent.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expectWorker } from "../../worker/capture.js";
import { originOf, variablesOf } from "../../worker/class-origin.js";
import { workerName } from "../../worker/current-context.js";
import { type Definition, definitionOf, usesThis } from "../../worker/function-worker.js";
import { type ModuleState, surelyUses } from "../../worker/module-state.js";
import type { Texts } from "../../worker/used-variables.js";
import { isProgram, rerunAdvice } from "../../worker/rerun.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { endProgramHere } from "./end-program.js";
import { namedInScope } from "./in-scope.js";
import { LoadFailure } from "./load-failure.js";
import { neverLoaded, notFound, type Others } from "./near-misses.js";
import { addFields, construct } from "./recreate-worker.js";

export async function findWorker(source: WorkerSource): Promise<LoadedWorker> {
  const argv = [process.argv[0]!, ...source.argv.slice(1)];
  process.argv = argvForImport(argv, source);
  process.execArgv = [...source.execArgv];
  const worker = await importWorker(source);
  if (isProgram(source.url, argv)) change = changeNamed(definitionOf(worker), source);
  process.argv = argv;
  expectWorker(undefined);
  addFields(worker, source);
  return worker;
}

let change: string | undefined;

/** Returns the first variable in the text of the worker that has another value here than in the program, and both values. */
export function noticedChange(): string | undefined {
  return change;
}

/**
 * A program that exports the class or function can also be imported; here it must not act as the main program. `import.meta.main`
 * is false here and `require.main` another module; for programs that compare `process.argv[1]` with their own name,
 * this changes it.
 */
function argvForImport(argv: string[], { url, name }: WorkerSource): string[] {
  if (!isProgram(url, argv) || !exportsName(fileURLToPath(url), name)) return argv;
  return [argv[0]!, path.join(path.dirname(argv[1]!), "forkmap-child"), ...argv.slice(2)];
}

/** Searches the source text: the actual exports are known too late. */
function exportsName(file: string, name: string): boolean {
  if (name === "") return false;
  // The name of a function without one that is the default export.
  if (name === "default") return /^\s*export\s+default\b/m.test(readFileSync(file, "utf8"));
  const word = `(?<![\\w$])${name.replaceAll("$", "\\$")}(?![\\w$])`;
  const forms = [
    `export\\s+(default\\s+)?(async\\s+)?(class|function|const|let|var)\\s+${word}`,
    `export\\s+default\\s+${word}`,
    `export\\s*\\{[^}]*${word}[^}]*\\}`,
  ];
  return new RegExp(forms.join("|")).test(readFileSync(file, "utf8"));
}

function importWorker(source: WorkerSource): Promise<LoadedWorker> {
  return new Promise((resolve, reject) => {
    let found: Definition | undefined;
    let loaded = false;
    const others: Others = {};

    const settle = () => {
      process.off("beforeExit", settle);
      try {
        found ??= others.inScope;
        if (found) resolve(construct(found, source));
        else {
          const isThrough = loaded || others.difference !== undefined;
          reject(
            new LoadFailure(isThrough ? notFound(source, others) : neverLoaded(source, others)),
          );
        }
      } catch (failure) {
        reject(failure);
      }
    };
    process.on("beforeExit", settle);

    const isIt = (each: Definition) =>
      matches(each, source) &&
      hasVariables(each, source, others) &&
      (!source.hasTwins || isNoTwin(each, source, others));

    expectWorker((worker) => {
      const offered = worker && definitionOf(worker);
      const isOffered = offered && isIt(offered);
      if (!isOffered) {
        others.isOffered = true;
        // An instance of a class may still be offered, so it is looked for only where the program gets no further.
        if (!worker || source.members === undefined) {
          others.inScope ??= namedInScope(source.name, source.url).find(
            (each) => isIt(each) && isUnchanged(each, source, others),
          );
        }
        // A function is the same wherever it is found. A worker may come that holds more than its class: it is waited for.
        if (!others.inScope || source.members !== undefined) return;
      }
      process.off("beforeExit", settle);
      // In a new turn of the event loop: the program's termination drops the microtasks of this one.
      setImmediate(() =>
        resolve(isOffered ? (worker as LoadedWorker) : construct(others.inScope!, source)),
      );
      try {
        endProgramHere();
      } catch (error) {
        reject(error);
        throw error;
      }
    });

    import(source.url).then(
      (exports: Record<string, unknown>) => {
        loaded = true;
        found = findExport(exports, source, others);
        // The program may continue after its import and still reach `new Parallel`: wait until it does or the event
        // loop is empty. Any other module is done now.
        if (!isProgram(source.url, source.argv)) settle();
        else if (source.maker !== undefined) setTimeout(settle, MAKER_PATIENCE_MS).unref();
      },
      (error: unknown) => {
        process.off("beforeExit", settle);
        const advice = isProgram(source.url, source.argv)
          ? rerunAdvice(source.isService)
          : undefined;
        reject(new LoadFailure(`${source.url} could not be loaded`, { value: error }, advice));
      },
    );
  });
}

/** How long to wait for one made by a function: it may run per request, and this process gets no requests. */
const MAKER_PATIENCE_MS = 5000;

function findExport(
  exports: Record<string, unknown>,
  source: WorkerSource,
  others: Others,
): Definition | undefined {
  const candidates = Object.values(exports)
    // A CommonJS module without named exports has its members on the default export.
    .flatMap((value) => (isPlainObject(value) ? [value, ...Object.values(value)] : [value]))
    .filter((value): value is Definition => typeof value === "function")
    .filter((value) => matches(value, source) && hasVariables(value, source, others));
  const same = new Set(candidates.filter((value) => String(value) === source.text));
  if (same.size > 0) return oneOf([...same], source, others);
  // A function has no methods by which it could be told from another without a name.
  others.isAmbiguous = source.members === undefined && new Set(candidates).size > 1;
  return others.isAmbiguous ? undefined : candidates[0];
}

/** Returns the one that is meant of exports with the same text. */
function oneOf(
  twins: readonly Definition[],
  source: WorkerSource,
  others: Others,
): Definition | undefined {
  if (twins.length === 1) return twins[0];
  others.isAmbiguous = source.hasMore || source.inBlocks.hasMore || usesThis(twins[0]!);
  if (others.isAmbiguous) return undefined;
  return twins.find((each) => isNoTwin(each, source, others));
}

function matches(
  definition: Definition,
  { name, text, verbatim, explicit, members, parameters }: WorkerSource,
): boolean {
  if (definition.name !== name) return false;
  if (String(definition) === text) return true;
  const isClass = CLASS.test(String(definition));
  if (members === undefined && isClass) return false;
  if (explicit) return true;
  if (verbatim) return false;
  // A loader in the parent (a test runner, say) has changed the text: compare something else.
  if (members === undefined) return definition.length === parameters;
  const prototype = definition.prototype as object | undefined;
  const own = prototype === undefined ? [] : Object.getOwnPropertyNames(prototype);
  return members.length === own.length && members.every((member) => own.includes(member));
}

const CLASS = /^class\b/;

/** Whether it closes over the same variable values as in the parent. */
function hasVariables(
  definition: Definition,
  { variables, url }: WorkerSource,
  others: Others,
): boolean {
  if (Object.keys(variables).length === 0) return true;
  others.difference = differenceOf(variables, variablesOf(definition, url).variables);
  return others.difference === undefined;
}

/** Whether it is the one that is meant, and no other with the same text in another file or block. */
function isNoTwin(definition: Definition, source: WorkerSource, others: Others): boolean {
  const { url, inBlocks, variables } = originOf(definition);
  if (url !== source.url) return false;
  // A bundler or test runner may have put the module into a block, there or here.
  const here = { ...variables, ...inBlocks.variables };
  others.difference = differenceOf(source.inBlocks.variables, here);
  return others.difference === undefined;
}

function changeNamed(definition: Definition, source: WorkerSource): string | undefined {
  const named = Object.entries(source.moduleState).filter(
    ([name, text]) => text !== null && surelyUses(definition, name),
  );
  // The first question to the inspector takes 5 ms (Node 20), and each spawned child would ask.
  if (named.length === 0) return undefined;
  const here = variablesOf(definition, source.url).moduleState;
  const [name, text] =
    named.find(([each, there]) => here[each] !== null && here[each] !== there) ?? [];
  if (name === undefined) return undefined;
  return `${workerName(source)} uses \`${name}\`, which is ${shortened(text!)} in the program but ${shortened(here[name] ?? "missing")}`;
}

/** Whether all that it uses of its module is what it is in the parent, where the program has got further. */
function isUnchanged(definition: Definition, source: WorkerSource, others: Others): boolean {
  others.change = changeOf(source.moduleState, variablesOf(definition, source.url).moduleState);
  return others.change === undefined;
}

function changeOf(there: ModuleState, here: ModuleState): string | undefined {
  for (const name of new Set([...Object.keys(there), ...Object.keys(here)])) {
    const [one, other] = [there[name], here[name]];
    if (one === null || other === null)
      return `\`${name}\` may have been another, which cannot be seen`;
    if (one !== other) return difference(name, one ?? "something else", other ?? "missing");
  }
  return undefined;
}

function differenceOf(expected: Texts, actual: Texts): string | undefined {
  const different = Object.entries(expected).find(([name, text]) => actual[name] !== text);
  if (!different) return undefined;
  const [name, text] = different;
  return difference(name, text, actual[name] ?? "missing");
}

function difference(name: string, there: string, here: string): string {
  return `\`${name}\` is ${shortened(there)} in the program but ${shortened(here)} when its file is run again`;
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
