/** Defaults that a program sets once for all its queue workers: `configure`. */
import { withoutUndefined } from "../options.js";
import { checkQueueWorkerOptions, type QueueWorkerOptions } from "./worker-options.js";

let defaults: QueueWorkerOptions = {};

/**
 * Sets defaults for every `QueueWorker` that is made after this. An option that is given to a queue worker itself comes first; then
 * those that are set here; then the environment; then the defaults of this package.
 *
 * @param options - replace those of the same names that were set before; `undefined` takes one back
 *
 * @throws TypeError that names the option, what was expected and what came
 *
 * @example
 * ```ts
 * import { configure } from "forkmap/bullmq";
 *
 * configure({ connection: "redis://127.0.0.1:6379", processes: 4 });
 * ```
 */
export function configure(options: QueueWorkerOptions): void {
  checkQueueWorkerOptions(options);
  defaults = withoutUndefined({ ...defaults, ...options });
}

export function configured(): QueueWorkerOptions {
  return defaults;
}
