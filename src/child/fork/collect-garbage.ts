/** V8's `gc`, which Node has only when it is started with `--expose-gc`. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Gc = (options?: { type: "minor" }) => void;

let gc: Gc | undefined;

/** To be called before the worker's module can set the flag for itself. Takes a millisecond, and some 100 KiB of the heap. */
export function findGc(): void {
  gc = (globalThis.gc as Gc | undefined) ?? hiddenGc();
}

export function collectGarbage(type: "minor" | "major"): void {
  if (type === "minor") gc!({ type });
  else gc!();
}

/** A context has it if the flag is set when it is made. */
function hiddenGc(): Gc {
  setFlagsFromString("--expose-gc");
  const found = runInNewContext("gc") as Gc;
  setFlagsFromString("--no-expose-gc");
  return found;
}
