/** Makes a worker ready in another process, and says in words what kept it from that. */
import { recordError } from "../error-record.js";
import type { LoadProblem, WorkerSource } from "../protocol.js";
import { findWorker, LoadFailure } from "./find-worker.js";
import type { LoadedWorker } from "./runner.js";
import type { Ending } from "./watch-exit.js";

/** @param onLoaded - called before `preload` is */
export async function loadWorker(
  source: WorkerSource,
  onLoaded: (worker: LoadedWorker) => void = () => {},
): Promise<LoadedWorker> {
  const worker = await findWorker(source);
  onLoaded(worker);
  try {
    await worker.preload?.();
  } catch (error) {
    throw new LoadFailure(`preload() of ${source.name} failed`, { value: error });
  }
  return worker;
}

export function problemOf(error: unknown): LoadProblem {
  return error instanceof LoadFailure
    ? error.problem
    : { message: "The worker could not be made ready", error: recordError(error) };
}

/** The process ended before the worker was ready. */
export function problemOfExit(ending: Ending, code: number, { url }: WorkerSource): LoadProblem {
  return ending.how === "uncaught"
    ? { message: `${url} threw while it was loaded`, error: recordError(ending.error) }
    : {
        message:
          `${url} ended its process while it was loaded (exit code ${code}). If it is a program, it was run again up to ` +
          "`new Parallel`, without standard input: export the class from a module of its own",
      };
}
