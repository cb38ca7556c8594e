/** The batches that come from elsewhere to the children of one `Calls`, which they share with its other calls. */
import { Pace } from "../pool/batching.js";
import type { ItemOutcome } from "../pool/engine.js";
import { type BatchItems, type BatchPlace, BatchRun } from "./batch-run.js";

export class BatchRuns {
  readonly #open: () => Promise<Omit<BatchPlace, "pace">>;
  readonly #pace = new Pace();
  readonly #running = new Map<BatchRun, Promise<unknown>>();
  #place: Promise<BatchPlace> | undefined;

  /** @param open - opens the pool, which stays */
  constructor(open: () => Promise<Omit<BatchPlace, "pace">>) {
    this.#open = open;
  }

  get size(): number {
    return this.#running.size;
  }

  /** @throws as `BatchRun`; LaunchError, WorkerModuleError if the pool cannot be opened */
  async run(items: BatchItems): Promise<readonly ItemOutcome[]> {
    this.#place ??= this.#open().then((place) => ({ ...place, pace: this.#pace }));
    let place: BatchPlace;
    try {
      place = await this.#place;
    } catch (error) {
      this.#place = undefined;
      throw error;
    }
    const run = new BatchRun(items, place);
    const running = run.run();
    this.#running.set(run, running);
    try {
      return await running;
    } finally {
      this.#running.delete(run);
    }
  }

  destroy(reason: unknown): void {
    for (const run of this.#running.keys()) run.abort(reason);
  }

  /** Resolves once no batch is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}
