/**
 * Counts the objects on the heap of this thread by class. It is how a sample tells which classes grow: V8 notes the place of a sampled
 * object, and not its class.
 *
 * The child does nothing else meanwhile. 400,000 objects and as many arrays in a heap of 50 MB take 1 s and 80 MB, four times as many of them
 * 3.6 s and 400 MB (Node 20; half the time when it is done again). A snapshot of the heap takes seven times as long, and eight times the memory.
 */
import type { Runtime } from "node:inspector";
import type { Session } from "node:inspector/promises";
import { types } from "node:util";

/** Names what the inspector has to keep until it is released. */
const GROUP = "forkmap";
/** Where the code that the inspector runs finds the function that counts. */
const HOOK = Symbol.for("forkmap.classes");

/** Objects without the `Object.prototype` of this program are not counted: those of another context of `node:vm`, or without a prototype. */
export async function countClasses(session: Session): Promise<Map<string, number>> {
  const counts = new Map<object | null, number>();
  Object.defineProperty(globalThis, HOOK, {
    value: (objects: readonly object[]) => countPrototypes(objects, counts),
    configurable: true,
  });
  try {
    const { result } = await session.post("Runtime.evaluate", {
      expression: "Object.prototype",
      objectGroup: GROUP,
    });
    // The types take its answer for none.
    const { objects } = (await session.post("Runtime.queryObjects", {
      prototypeObjectId: result.objectId!,
      objectGroup: GROUP,
    })) as unknown as Runtime.QueryObjectsReturnType;
    await session.post("Runtime.callFunctionOn", {
      objectId: objects.objectId!,
      functionDeclaration: 'function () { globalThis[Symbol.for("forkmap.classes")](this); }',
    });
  } finally {
    Reflect.deleteProperty(globalThis, HOOK);
    await session.post("Runtime.releaseObjectGroup", { objectGroup: GROUP });
  }
  const named = new Map<string, number>();
  for (const [prototype, count] of counts) {
    const name = nameOf(prototype);
    named.set(name, (named.get(name) ?? 0) + count);
  }
  return named;
}

function countPrototypes(objects: readonly object[], counts: Map<object | null, number>): void {
  for (const object of objects) {
    // It would run code of the program.
    if (types.isProxy(object)) continue;
    const prototype = Object.getPrototypeOf(object) as object | null;
    counts.set(prototype, (counts.get(prototype) ?? 0) + 1);
  }
}

/** Runs no getter of the program. */
function nameOf(prototype: object | null): string {
  let at = prototype;
  while (at !== null && !types.isProxy(at)) {
    const made: unknown = Object.getOwnPropertyDescriptor(at, "constructor")?.value;
    if (typeof made === "function" && !types.isProxy(made)) {
      const name: unknown = Object.getOwnPropertyDescriptor(made, "name")?.value;
      return typeof name === "string" && name !== "" ? name : "(anonymous)";
    }
    at = Object.getPrototypeOf(at) as object | null;
  }
  return "(none)";
}
