/**
 * Finds a function or class by its name where the program that is run again has called `new Parallel` with another worker:
 * the program would not get beyond the calls of that one, so a worker that it makes later is never offered.
 */
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";
import type { Definition } from "../../worker/function-worker.js";

/** The name under which code that the inspector evaluates finds `take`; see class-origin.ts. */
const KEY = "forkmap.taken";
const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u;

/**
 * Returns the values that `name` has in the functions under way that are in the file `url`, the innermost first. V8 tells
 * them to a debugger only, so this pauses the thread; its own session is answered at once and lets it go on.
 */
export function namedInScope(name: string, url: string): Definition[] {
  if (!IDENTIFIER.test(name)) return [];
  const inspector = createRequire(import.meta.url)("node:inspector") as typeof Inspector;
  const shared = inspector as unknown as Record<string, unknown>;
  const found: Definition[] = [];
  const session = new inspector.Session();
  try {
    session.connect();
    shared[KEY] = (value: Definition) => found.push(value);
    const scripts = new Set<string>();
    session.on("Debugger.scriptParsed", ({ params }) => {
      if (params.url === url) scripts.add(params.scriptId);
    });
    session.on("Debugger.paused", ({ params }) => {
      for (const frame of params.callFrames) {
        if (!scripts.has(frame.location.scriptId)) continue;
        const expression = `typeof ${name} === "function" && process.getBuiltinModule("node:inspector")["${KEY}"](${name})`;
        const { callFrameId } = frame;
        session.post("Debugger.evaluateOnCallFrame", { callFrameId, expression, silent: true });
      }
    });
    session.post("Debugger.enable");
    // oxlint-disable-next-line eslint/no-debugger -- the pause
    debugger;
  } catch {
    // Node's permission model forbids the inspector: nothing is found.
  } finally {
    delete shared[KEY];
    session.disconnect();
  }
  return found;
}
