/** Ends a program that has been run again up to `new Parallel`, in a process that goes on. */
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";
import { isInspectorDenial } from "../../system/permission.js";
import { LoadFailure } from "./load-failure.js";

/**
 * Terminates the program: no code after `new Parallel` runs, no `catch`, no `finally`. Only V8 can do that, on request
 * of the inspector. A thrown error could be caught, and a promise that never settles would not stop the code up to the
 * next `await`.
 */
export function endProgramHere(): never {
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

const NO_INSPECTOR =
  "Node's permission model (--permission) forbids V8's inspector, without which a program cannot be run again up to `new Parallel`: " +
  "export the class from a module of its own";
