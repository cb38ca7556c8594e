/** Calls a hook of the user's policy. An error in it is contained: it must not keep an instance from being restarted. */
import { describe } from "../system/describe.js";

export function runHook(name: string, hook: () => unknown): void {
  const warn = (error: unknown) => {
    const what = error instanceof Error ? (error.stack ?? error.message) : describe(error);
    process.emitWarning(`The hook ${name} of the container's policy failed: ${what}`, {
      type: "ForkmapWarning",
      code: "FORKMAP_POLICY",
    });
  };
  try {
    void Promise.resolve(hook()).catch(warn);
  } catch (error) {
    warn(error);
  }
}
