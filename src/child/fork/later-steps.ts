/**
 * What makes forks cheaper but not sounder, in steps of a ms or few: the first children do not wait for it, nor does a
 * program that has only a few. A step is done between two forks or while the fork server is idle, one at a time.
 *
 * Steps are synchronous: no callback of the worker's module may run in the fork server once it has forked.
 */
import type { WorkerSource } from "../../worker/worker-source.js";
import type { Libc } from "../libc.js";
import { hugePageSteps } from "./huge-pages.js";
import { packCHeap } from "./pack-c-heap.js";
import { REHEARSALS, rehearse } from "./rehearse.js";
import { afterFork, ageYoungGeneration, withoutGrowth } from "./young-generation.js";

/** With fewer forks, an item that waits for a step loses more than it gains, unless others wait behind it. */
const FORKS_WORTH_STEPS = 3;
/**
 * After so many forks huge pages have paid off: moving code takes 10 to 20 ms and saves 0.2 ms per fork, collapsing
 * 100 MiB of large pieces takes 330 ms and saves 5 ms per fork.
 */
const FORKS_WORTH_HUGE_PAGES = 75;

export class LaterSteps {
  readonly #steps: (() => void)[];
  readonly #planHugePages: () => (() => void)[];
  #forks = 0;

  /**
   * @param steps - done before those that are known here
   * @param onRehearsed - called after each rehearsal, which leaves the handler of the process's end changed
   */
  constructor(
    libc: Libc,
    source: WorkerSource,
    readsOutput: boolean,
    steps: readonly (() => void)[],
    onRehearsed: () => void,
  ) {
    const rehearsal = (item: string) => () => {
      try {
        rehearse(libc, source, readsOutput, item);
      } finally {
        onRehearsed();
      }
    };
    // Instances of a service are few, and all are waited for. They run no items, which are what is rehearsed.
    const { isService } = source;
    this.#steps = isService
      ? []
      : [...steps, ...REHEARSALS.map(rehearsal), ageYoungGeneration, () => packCHeap(libc)];
    this.#planHugePages = () => (isService ? [] : hugePageSteps(libc, rehearsal("")));
  }

  /** Whether `onIdle` has something to do. Not before the first fork: its request may come at any moment. */
  get arePending(): boolean {
    return this.#forks > 0 && this.#steps.length > 0;
  }

  /** @param isQueue - whether more children wait to be forked */
  onFork(isQueue: boolean): void {
    this.#forks += 1;
    if (this.#forks === FORKS_WORTH_HUGE_PAGES) this.#steps.push(...this.#planHugePages());
    else if (isQueue || this.#forks > FORKS_WORTH_STEPS) this.#next();
    afterFork();
  }

  /** Called when nothing has happened for a moment. */
  onIdle(): void {
    this.#next();
  }

  #next(): void {
    const step = this.#steps.shift();
    if (!step) return;
    try {
      withoutGrowth(step);
    } catch {
      // What it needs may be missing: a temporary directory, descriptors, /proc. Then children are a little slower.
    }
  }
}
