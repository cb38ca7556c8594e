/** V8's `gc` function, which Node provides only with `--expose-gc`. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Gc = (options?: { type: "minor" }) => void;

let gc: Gc | undefined;

/** Called before the worker's module can set the flag itself. Takes a millisecond and some 100 KiB of heap. */
export function findGc(): void {
  gc = (globalThis.gc as Gc | undefined) ?? hiddenGc();
}

export function collectGarbage(type: "minor" | "major"): void {
  if (type === "minor") gc!({ type });
  else gc!();
}

/** A new context has `gc` if the flag is set when it is created. */
function hiddenGc(): Gc {
  setFlagsFromString("--expose-gc");
  const found = runInNewContext("gc") as Gc;
  setFlagsFromString("--no-expose-gc");
  return found;
}
