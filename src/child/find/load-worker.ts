/** Loads a worker in another process, calls `preload`, and describes in words why that failed. */
import { recordError } from "../../wire/error-record.js";
import type { LoadProblem } from "../../wire/protocol.js";
import { sortsKeys } from "../../worker/check-worker.js";
import { workerName } from "../../worker/current-context.js";
import { isProgram, rerunAdvice } from "../../worker/rerun.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { prepareForJson } from "../items/notes.js";
import type { LoadedWorker } from "../items/runner-events.js";
import type { Ending } from "../items/watch-exit.js";
import { findWorker } from "./find-worker.js";
import { LoadFailure } from "./load-failure.js";

/** The module is loaded and `preload` is running. */
let isPreloading = false;

/** @param onLoaded - called before `preload` */
export async function loadWorker(
  source: WorkerSource,
  onLoaded?: (worker: LoadedWorker) => Promise<void>,
): Promise<LoadedWorker> {
  if (source.sortsKeys) await prepareForJson();
  const worker = await findWorker(source);
  await onLoaded?.(worker);
  try {
    isPreloading = true;
    await worker.preload?.();
  } catch (error) {
    throw new LoadFailure(`preload() of ${workerName(source)} failed`, { value: error });
  } finally {
    isPreloading = false;
  }
  // With the option `module`, the class may be another one than the parent's.
  if (sortsKeys(worker, source.serialization)) await prepareForJson();
  return worker;
}

export function problemOf(error: unknown): LoadProblem {
  return error instanceof LoadFailure
    ? error.problem
    : { message: "The worker could not be made ready", error: recordError(error) };
}

/** Describes why the process ended before the worker was ready. */
export function problemOfExit(ending: Ending, code: number, source: WorkerSource): LoadProblem {
  const error = ending.how === "uncaught" ? recordError(ending.error) : undefined;
  if (isPreloading) {
    const what = `preload() of ${workerName(source)}`;
    if (error)
      return { message: `${what} failed: something it started threw an uncaught error`, error };
    if (ending.how === "exit") return { message: `${what} called process.exit(${code})` };
    return {
      message: `${what} never settled: its promise is pending and nothing is left that could settle it`,
    };
  }
  const { url, argv } = source;
  const advice = isProgram(url, argv) ? rerunAdvice(source.isService) : undefined;
  if (error) return { message: `${url} threw while it was loaded`, error, advice };
  const noInput = advice && `${advice}. Its standard input is empty there`;
  return {
    message: `${url} ended its process while it was loaded (exit code ${code})`,
    advice: noInput,
  };
}
