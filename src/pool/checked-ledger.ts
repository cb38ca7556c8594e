/**
 * The ledger of a child, read without trust: it is memory that any code in the child can overwrite. An entry that no
 * child can have recorded is a breach, after which no entries are taken from the ledger any more.
 */
import { monotonic } from "../system/monotonic.js";
import { Breach } from "../wire/breach.js";
import type { Entry, EntryHandler, Ledger } from "../wire/ledger.js";
import type { Ending } from "../wire/protocol.js";
import type { TaskList } from "./task-list.js";

/**
 * How far in the future a time may be. The clocks of two processes differ by much less, even if one was interrupted
 * while it measured the offset (monotonic.ts).
 */
const CLOCKS_DIFFER_MS = 1000;

export interface CheckedHandler {
  /** The ledger knows the item's times. They are not passed on, as V8 would allocate an object for each number. */
  entry(seq: number, entry: Entry): void;
  ending(ending: Ending): void;
}

export class CheckedLedger {
  readonly #ledger: Ledger;
  readonly #tasks: TaskList;
  readonly #handler: EntryHandler;
  readonly #onBreach: (reason: string) => void;
  #isBroken = false;
  /** The latest time at which the items of the entries being taken can have ended; 0 before the first entry. */
  #latest = 0;

  /**
   * @param tasks - those of the child
   * @param onBreach - called with what the child did, in words that continue "its child"
   */
  constructor(
    ledger: Ledger,
    tasks: TaskList,
    handler: CheckedHandler,
    onBreach: (reason: string) => void,
  ) {
    this.#ledger = ledger;
    this.#tasks = tasks;
    this.#onBreach = onBreach;
    this.#handler = {
      entry: (seq, entry) => {
        // Measured after the entries were read: until then the child goes on recording.
        if (this.#latest === 0) this.#latest = monotonic() + CLOCKS_DIFFER_MS;
        const start = ledger.startOf(seq);
        const end = ledger.endOf(seq);
        if (!(start > 0 && start <= end && end <= this.#latest)) throw strangeTime();
        handler.entry(seq, entry);
      },
      ending: (ending) => handler.ending(ending),
    };
  }

  /** Passes the entries added since the last call to the handler. */
  take(): void {
    if (this.#isBroken) return;
    const { oldest, next } = this.#tasks;
    this.#latest = 0;
    this.#isBroken = this.#isBreach(() => this.#ledger.take(oldest, next, this.#handler));
  }

  /** Returns how many items the child has begun; all of them after a breach, as none of them may run a second time. */
  begun(): number {
    const { next } = this.#tasks;
    let begun = 0;
    const isWrong = this.#isBreach(() => {
      begun = this.#ledger.begun();
      if (begun >= 0 && begun <= next) return;
      throw new Breach(`claims in its ledger to have begun ${begun} items of ${next}`);
    });
    return isWrong ? next : begun;
  }

  /** Returns when the child began an item that has not been taken. */
  beginningOf(seq: number): number {
    let time = 0;
    const isWrong = this.#isBreach(() => {
      time = this.#ledger.beginningOf(seq);
      if (!(time > 0 && time <= monotonic() + CLOCKS_DIFFER_MS)) throw strangeTime();
    });
    return isWrong ? monotonic() : time;
  }

  #isBreach(look: () => void): boolean {
    try {
      look();
      return false;
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.#onBreach(error.message);
      return true;
    }
  }
}

function strangeTime(): Breach {
  return new Breach("noted a time in its ledger at which no item of it can have run");
}
