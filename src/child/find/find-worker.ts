/**
 * The folder holds what recreates the user's worker in another process and runs its `preload`. Here: imports the module
 * that defines the class and uses its export, or runs the program again and takes the worker that it passes to
 * `new Parallel`. The worker's own fields come from the parent.
 */
import { readFileSync } from "node:fs";
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { deserialize } from "node:v8";
import { isInspectorDenial } from "../../system/permission.js";
import { recordError } from "../../wire/error-record.js";
import type { LoadProblem } from "../../wire/protocol.js";
import { expectWorker } from "../../worker/capture.js";
import { DEFINE_AT_TOP, variablesOf } from "../../worker/class-origin.js";
import { workerName } from "../../worker/current-context.js";
import { likenessOf, setsPrivateFields, takesArguments } from "../../worker/likeness.js";
import { isProgram, RERUN_ADVICE } from "../../worker/rerun.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { LoadedWorker } from "../items/runner-events.js";

/** The worker cannot be loaded; `message` says why in a sentence for the user. */
export class LoadFailure extends Error {
  readonly problem: LoadProblem;
  constructor(
    message: string,
    thrown?: { readonly value?: unknown; readonly unrelated?: true },
    advice?: string,
  ) {
    super(message);
    this.problem = {
      message,
      advice,
      ...(thrown && "value" in thrown ? { error: recordError(thrown.value) } : {}),
      ...(thrown?.unrelated ? { unrelated: true } : {}),
    };
  }
}

export async function findWorker(source: WorkerSource): Promise<LoadedWorker> {
  const argv = [process.argv[0]!, ...source.argv.slice(1)];
  process.argv = argvForImport(argv, source);
  process.execArgv = [...source.execArgv];
  const worker = await importWorker(source);
  process.argv = argv;
  expectWorker(undefined);
  addFields(worker, source);
  return worker;
}

/**
 * A program that exports the class can also be imported; here it must not act as the main program. `import.meta.main`
 * is false here and `require.main` another module; for programs that compare `process.argv[1]` with their own name,
 * this changes it.
 */
function argvForImport(argv: string[], { url, name }: WorkerSource): string[] {
  if (!isProgram(url, argv) || !exportsClass(fileURLToPath(url), name)) return argv;
  return [argv[0]!, path.join(path.dirname(argv[1]!), "forkmap-child"), ...argv.slice(2)];
}

/** Searches the source text: the actual exports are known too late. */
function exportsClass(file: string, name: string): boolean {
  const word = `\\b${name.replaceAll("$", "\\$")}\\b`;
  const forms = [`export\\s+(default\\s+)?class\\s+${word}`, `export\\s*\\{[^}]*${word}[^}]*\\}`];
  return name !== "" && new RegExp(forms.join("|")).test(readFileSync(file, "utf8"));
}

function importWorker(source: WorkerSource): Promise<LoadedWorker> {
  return new Promise((resolve, reject) => {
    let exported: WorkerClass | undefined;
    let loaded = false;
    const others: Others = {};

    const settle = () => {
      process.off("beforeExit", settle);
      try {
        if (exported) resolve(construct(exported, source));
        else {
          const isThrough = loaded || others.difference !== undefined;
          reject(new LoadFailure(isThrough ? notFound(source, others) : neverLoaded(source)));
        }
      } catch (failure) {
        reject(failure);
      }
    };
    process.on("beforeExit", settle);

    expectWorker((worker) => {
      const type = worker.constructor as WorkerClass;
      if (!matches(type, source) || !hasVariables(type, source, others)) {
        others.isOffered = true;
        return;
      }
      process.off("beforeExit", settle);
      // In a new turn of the event loop: the program's termination drops the microtasks of this one.
      setImmediate(() => resolve(worker as LoadedWorker));
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
        exported = findExport(exports, source, others);
        // The program may continue after its import and still reach `new Parallel`: wait until it does or the event
        // loop is empty. Any other module is done now.
        if (!isProgram(source.url, source.argv)) settle();
        else if (source.maker !== undefined) setTimeout(settle, MAKER_PATIENCE_MS).unref();
      },
      (error: unknown) => {
        process.off("beforeExit", settle);
        const advice = isProgram(source.url, source.argv) ? RERUN_ADVICE : undefined;
        reject(new LoadFailure(`${source.url} could not be loaded`, { value: error }, advice));
      },
    );
  });
}

type WorkerClass = { new (): LoadedWorker; readonly prototype: object; readonly name: string };

/** How long to wait for a class made by a function: it may run per request, and this process gets no requests. */
const MAKER_PATIENCE_MS = 5000;

function findExport(
  exports: Record<string, unknown>,
  source: WorkerSource,
  others: Others,
): WorkerClass | undefined {
  const candidates = Object.values(exports)
    // A CommonJS module without named exports has its members on the default export.
    .flatMap((value) => (isPlainObject(value) ? [value, ...Object.values(value)] : [value]))
    .filter((value): value is WorkerClass => typeof value === "function")
    .filter((value) => matches(value, source) && hasVariables(value, source, others));
  return (
    candidates.find((value) => value.name === source.name && String(value) === source.text) ??
    candidates[0]
  );
}

function matches(
  type: WorkerClass,
  { name, text, verbatim, explicit, members }: WorkerSource,
): boolean {
  if (type.name !== name) return false;
  if (explicit || String(type) === text) return true;
  // A loader in the parent (a test runner, say) has changed the text: compare the method names instead.
  const own = type.prototype === undefined ? [] : Object.getOwnPropertyNames(type.prototype);
  return (
    !verbatim && members.length === own.length && members.every((member) => own.includes(member))
  );
}

const NO_INSPECTOR =
  "Node's permission model (--permission) forbids V8's inspector, without which a program cannot be run again up to `new Parallel`: " +
  "export the class from a module of its own";

/** Near misses during the search, for the error message. */
interface Others {
  /** Whether the program called `new Parallel` with another class. */
  isOffered?: boolean;
  /** A variable that differs, with its value there and here. */
  difference?: string;
}

/** Whether the class closes over the same variable values as in the parent. */
function hasVariables(type: WorkerClass, { variables }: WorkerSource, others: Others): boolean {
  const expected = Object.entries(variables);
  if (expected.length === 0) return true;
  const actual = variablesOf(type);
  const different = expected.find(([name, text]) => actual[name] !== text);
  if (!different) return true;
  const [name, text] = different;
  others.difference = `\`${name}\` is ${shortened(text)} in the program but ${shortened(actual[name] ?? "missing")} when its file is run again`;
  return false;
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/**
 * Terminates the program: no code after `new Parallel` runs, no `catch`, no `finally`. Only V8 can do that, on request
 * of the inspector. A thrown error could be caught, and a promise that never settles would not stop the code up to the
 * next `await`.
 */
function endProgramHere(): never {
  const { Session } = createRequire(import.meta.url)("node:inspector") as typeof Inspector;
  const session = new Session();
  try {
    session.connect();
  } catch (error) {
    throw isInspectorDenial(error) ? new LoadFailure(NO_INSPECTOR, { unrelated: true }) : error;
  }
  setImmediate(() => session.disconnect());
  unwindAsyncIds();
  session.post("Runtime.terminateExecution");
  for (;;);
}

/**
 * With async hooks on, each promise job and resource pushes an id on Node's own stack and pops it at its end. A
 * terminated one never pops, and Node would abort the process (`InternalCallbackScope::Close`). Node has the same
 * problem with every uncaught error and solves it in `process._fatalException`: it calls the hooks' `after` and empties
 * the stack, in a thread too.
 */
function unwindAsyncIds(): void {
  const { emit } = process;
  const { _fatalException: unwind } = process as unknown as { _fatalException(error: Error): void };
  // The error below is artificial: no listener and no capture callback of the program may receive it.
  if (process.hasUncaughtExceptionCaptureCallback())
    process.setUncaughtExceptionCaptureCallback(null);
  process.emit = (() => true) as unknown as typeof emit;
  unwind(new Error("The program has been run up to new Parallel"));
  process.emit = emit;
}

/**
 * Calls the constructor if it takes no arguments, so that private fields and function fields exist; else creates the
 * object without it, as unpickling does in Python.
 */
function construct(type: WorkerClass, source: WorkerSource): LoadedWorker {
  const hasPrivate =
    type.length > 0 ? PRIVATE_FIELD.test(source.text) : setsPrivateFields(source.text);
  if (hasPrivate && takesArguments(type)) {
    throw new LoadFailure(
      `${workerName(source)} has private fields and a constructor that takes arguments: another process cannot create such an object. ` +
        "Use public fields, or a constructor without arguments and set the fields afterwards",
    );
  }
  if (type.length > 0) return Object.create(type.prototype) as LoadedWorker;
  try {
    const worker = new type();
    constructed.add(worker);
    return worker;
  } catch (error) {
    throw new LoadFailure(`new ${workerName(source)}() failed in another process`, {
      value: error,
    });
  }
}

/** Workers that `construct` created by calling their constructor, as opposed to those the rerun program created. */
const constructed = new WeakSet<LoadedWorker>();
const PRIVATE_FIELD = /\bthis\.#/;

function addFields(worker: LoadedWorker, source: WorkerSource): void {
  const name = workerName(source);
  const hasArguments = takesArguments(worker.constructor);
  for (const [field, { reason, likeness }] of Object.entries(source.unsendable)) {
    const what = `The field \`${field}\` of ${name} cannot travel to another process (${reason})`;
    if (!Object.hasOwn(worker, field)) {
      throw new LoadFailure(
        `${what}: set it in the class body of a worker whose constructor takes no arguments, or in preload() or setup()`,
      );
    }
    if (!constructed.has(worker)) continue;
    const made = (worker as unknown as Record<string, unknown>)[field];
    if (likenessOf(made, hasArguments) === likeness) continue;
    throw new LoadFailure(
      `${what}, and \`new ${name}()\` creates a different value there: set it in preload() or setup(), from fields that can travel`,
    );
  }
  Object.assign(worker, deserialize(Buffer.from(source.fields, "base64")));
}

function notFound({ name, url, maker }: WorkerSource, { difference, isOffered }: Others): string {
  if (maker !== undefined) {
    const seen = difference === undefined ? "" : ` (${difference})`;
    return (
      `${name || "The worker's class"} is defined inside ${maker} and uses its variables${seen}, which no other process has. ` +
      `${DEFINE_AT_TOP}. If it is at the top level and a bundler wrapped it in that function, export it, or make its ` +
      "Parallel at the top level too"
    );
  }
  const what = name === "" ? "The worker's class has no name and" : `The class ${name}`;
  return (
    `${what} is not exported by ${url}, and loading that file does not reach \`new Parallel\` with it${isOffered ? " (calls of another Parallel never settle there)" : ""}. ` +
    "Define the class at the top level of a module and export it, or name its module with the option `module`. " +
    "(`import.meta.main` and `require.main === module` are false there.)"
  );
}

function neverLoaded({ url, argv }: WorkerSource): string {
  const advice = isProgram(url, argv)
    ? `${RERUN_ADVICE}. With two workers in one file, make both \`Parallel\`s before the first call`
    : "Move the class to a module of its own and export it";
  return (
    `${url} never finished loading: it awaits a promise that nothing is left to settle ` +
    `(calls of another Parallel never settle here). ${advice}`
  );
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
