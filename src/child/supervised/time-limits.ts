/**
 * Knows when a script with a time limit runs (`timeout` of node:vm). V8 ends whatever runs when the limit is reached; were that the handling of an
 * interrupt, the script would go on without a limit, for ever: in a test, after some 50 interrupts. So interrupts wait until it has ended.
 */
import vm from "node:vm";

type Run = (this: unknown, context: unknown, timeout: unknown, ...rest: unknown[]) => unknown;

/** How many such scripts run, one within the other; and what is called before the first, and after the last. */
export const limits = { running: 0, onFirst: (): void => {}, onLast: (): void => {} };

let isWatching = false;

/** Replaces the function of Node's by which all scripts are run; `evaluate` of a vm.Module, which is experimental, has its own. */
export function watchTimeLimits(): void {
  if (isWatching) return;
  isWatching = true;
  const prototype = Object.getPrototypeOf(vm.Script.prototype) as { runInContext: Run };
  const run = prototype.runInContext;
  prototype.runInContext = function runInContext(context, timeout, ...rest) {
    const args = [context, timeout, ...rest];
    // -1 is none.
    if (typeof timeout !== "number" || timeout < 0) return Reflect.apply(run, this, args);
    if (limits.running === 0) limits.onFirst();
    limits.running += 1;
    try {
      return Reflect.apply(run, this, args);
    } finally {
      limits.running -= 1;
      if (limits.running === 0) limits.onLast();
    }
  };
}
