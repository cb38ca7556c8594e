/**
 * Has the user's worker in another process: imports the module that defines the class and takes its export, or takes
 * the worker that the program itself gives to `new Parallel` when it runs again. Own fields come from the parent.
 */
import { realpathSync } from "node:fs";
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { deserialize } from "node:v8";
import { expectWorker } from "../capture.js";
import { recordError } from "../error-record.js";
import type { LoadProblem, WorkerSource } from "../protocol.js";
import type { LoadedWorker } from "./runner.js";

/** The worker cannot be had; says why in a sentence for the user. */
export class LoadFailure extends Error {
  readonly problem: LoadProblem;
  constructor(message: string, thrown?: { readonly value: unknown; readonly unrelated?: true }) {
    super(message);
    this.problem = {
      message,
      ...(thrown ? { error: recordError(thrown.value) } : {}),
      ...(thrown?.unrelated ? { unrelated: true } : {}),
    };
  }
}

export async function findWorker(source: WorkerSource): Promise<LoadedWorker> {
  process.argv = [process.argv[0]!, ...source.argv.slice(1)];
  process.execArgv = [...source.execArgv];
  const worker = await importWorker(source);
  expectWorker(undefined);
  addFields(worker, source);
  return worker;
}

function importWorker(source: WorkerSource): Promise<LoadedWorker> {
  return new Promise((resolve, reject) => {
    let exported: WorkerClass | undefined;
    let loaded = false;

    const settle = () => {
      process.off("beforeExit", settle);
      try {
        if (exported) resolve(construct(exported, source));
        else reject(new LoadFailure(loaded ? notFound(source) : neverLoaded(source)));
      } catch (failure) {
        reject(failure);
      }
    };
    process.on("beforeExit", settle);

    expectWorker((worker) => {
      if (!matches(worker.constructor as WorkerClass, source)) return;
      process.off("beforeExit", settle);
      // From a fresh turn of the loop: the microtasks of this one end with the program.
      setImmediate(() => resolve(worker as LoadedWorker));
      endProgramHere();
    });

    import(source.url).then(
      (exports: Record<string, unknown>) => {
        loaded = true;
        exported = findExport(exports, source);
        // The program itself may go on after its import, towards `new Parallel` or anything else: wait until it has
        // got there or has nothing left to do. A module on its own is done now.
        if (!isProgram(source)) settle();
      },
      (error: unknown) => {
        process.off("beforeExit", settle);
        reject(new LoadFailure(`${source.url} could not be loaded`, { value: error }));
      },
    );
  });
}

type WorkerClass = { new (): LoadedWorker; readonly prototype: object; readonly name: string };

function findExport(
  exports: Record<string, unknown>,
  source: WorkerSource,
): WorkerClass | undefined {
  const candidates = Object.values(exports)
    // A CommonJS module without named exports keeps them on its default one.
    .flatMap((value) => (isPlainObject(value) ? [value, ...Object.values(value)] : [value]))
    .filter((value): value is WorkerClass => typeof value === "function");
  return (
    candidates.find((value) => value.name === source.name && String(value) === source.text) ??
    candidates.find((value) => matches(value, source))
  );
}

function matches(
  type: WorkerClass,
  { name, text, verbatim, explicit, members }: WorkerSource,
): boolean {
  if (type.name !== name) return false;
  if (explicit || String(type) === text) return true;
  // A loader of the parent (a test runner, say) has changed the text: its methods have to do.
  const own = type.prototype === undefined ? [] : Object.getOwnPropertyNames(type.prototype);
  return (
    !verbatim && members.length === own.length && members.every((member) => own.includes(member))
  );
}

/**
 * Runs no more of the program: not the code after `new Parallel`, no `catch`, no `finally`. Only V8 can do that, and
 * the inspector is the way to ask it; a thrown error could be caught, and a promise that never settles leaves
 * everything before the first `await` to run.
 */
function endProgramHere(): never {
  const { Session } = createRequire(import.meta.url)("node:inspector") as typeof Inspector;
  const session = new Session();
  session.connect();
  setImmediate(() => session.disconnect());
  unwindAsyncIds();
  session.post("Runtime.terminateExecution");
  for (;;);
}

/**
 * Where async hooks are on, each promise job and resource begins with an id on Node's own stack and takes it off when it
 * ends. What is terminated never does, and Node aborts the process over it: `InternalCallbackScope::Close`. Node itself
 * meets that with every uncaught error, and `process._fatalException` is its way out: it calls the hooks' `after` and
 * empties the stack, in a thread too.
 */
function unwindAsyncIds(): void {
  const { emit } = process;
  const { _fatalException: unwind } = process as unknown as { _fatalException(error: Error): void };
  // There is no error that anybody should hear of: neither a listener nor a callback of the program's own.
  if (process.hasUncaughtExceptionCaptureCallback())
    process.setUncaughtExceptionCaptureCallback(null);
  process.emit = (() => true) as unknown as typeof emit;
  unwind(new Error("The program has been run up to new Parallel"));
  process.emit = emit;
}

function isProgram({ url, argv }: WorkerSource): boolean {
  try {
    return argv[1] !== undefined && realpathSync(argv[1]) === realpathSync(fileURLToPath(url));
  } catch {
    return false;
  }
}

/**
 * By its constructor if that takes no arguments, so that private fields and functions are there; else without it, as
 * unpickling does in Python.
 */
function construct(type: WorkerClass, source: WorkerSource): LoadedWorker {
  if (type.length > 0) {
    if (!PRIVATE_FIELD.test(source.text)) return Object.create(type.prototype) as LoadedWorker;
    throw new LoadFailure(
      `${source.name} has private fields and a constructor that takes arguments: another process can make no such object. ` +
        "Use public fields, or a constructor without arguments and set the fields afterwards",
    );
  }
  try {
    return new type();
  } catch (error) {
    throw new LoadFailure(`new ${source.name}() failed in another process`, { value: error });
  }
}

const PRIVATE_FIELD = /\bthis\.#/;

function addFields(worker: LoadedWorker, { name, fields, unsendable }: WorkerSource): void {
  Object.assign(worker, deserialize(Buffer.from(fields, "base64")));
  for (const [field, reason] of Object.entries(unsendable)) {
    if (Object.hasOwn(worker, field)) continue;
    throw new LoadFailure(
      `The field \`${field}\` of ${name} cannot travel to another process (${reason}): ` +
        "set it in the class body of a worker whose constructor takes no arguments, or in preload() or setup()",
    );
  }
}

function notFound({ name, url }: WorkerSource): string {
  const what = name === "" ? "The worker's class has no name and" : `The class ${name}`;
  return (
    `${what} is not exported by ${url}, and loading that file does not reach \`new Parallel\` with it. ` +
    "Define the class at the top level of a module and export it, or name its module with the option `module`"
  );
}

function neverLoaded({ url }: WorkerSource): string {
  return (
    `${url} never finished loading: it waits for something that nothing is left to settle ` +
    "(a call of another Parallel goes no further here). Move the class to a module of its own and export it"
  );
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
