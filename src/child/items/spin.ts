/**
 * Keeps the event loop of an idle child turning for a moment, if the next items will probably come within it. While a
 * processor sleeps, waking the process that it will run takes some 25 us, and the sender of the message as long again to
 * wake the processor: more than everything else that a short item costs.
 *
 * A child spins for about as long as sleeping would cost, so it wastes no more than it could have saved (Karlin, Li, Manasse,
 * Owicki: Empirical studies of competitive spinning for a shared-memory multiprocessor, SOSP 1991). It does not if the
 * last items were longer in coming, nor if the slots at work need all processors, which the parent knows. Other
 * programs may need them too: then the caller runs on the processor on which the child spins, only later. So after it
 * has waited in vain, the child omits ever more opportunities.
 */
import { monotonic } from "../../system/monotonic.js";
import { setImmediate } from "../../system/timers.js";

/**
 * `run` one after another, two processors, calls a second: 10,900 without spinning, 23,000 with 0.1 ms, 21,700 with 0.05. If
 * another program keeps one processor busy: 29,000 without, 11,000 with 0.1 ms at each opportunity, 29,000 with `MOST_OMITTED`.
 */
const SPIN_MS = 0.1;
const MOST_OMITTED = 4096;

export class Spin {
  /** When the child has last become idle, in ms on the monotonic clock. */
  #idleSince = -Infinity;
  #isOn = false;
  /** `#turn` will be called: also after items have arrived, so that there is never a second one. */
  #isDue = false;
  /** The last items came soon enough. */
  #isWorthIt = false;
  /** How many opportunities are omitted: after the last time in vain, and of these the ones that are left. */
  #pause = 1;
  #left = 0;

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Items have arrived. */
  end(): void {
    if (this.#isOn && this.#pause > 1) this.#pause /= 2;
    this.#isOn = false;
    this.#isWorthIt = monotonic() - this.#idleSince < SPIN_MS;
  }

  /** The child is idle. */
  begin(): void {
    this.#idleSince = monotonic();
    if (!this.#isWorthIt || this.#isOn) return;
    if (this.#left > 0) {
      this.#left -= 1;
      return;
    }
    this.#isOn = true;
    this.#turnAgain();
  }

  #turnAgain(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isDue = false;
    if (!this.#isOn) return;
    if (monotonic() - this.#idleSince < SPIN_MS) return this.#turnAgain();
    this.#isOn = false;
    this.#pause = Math.min(this.#pause * 4, MOST_OMITTED);
    this.#left = this.#pause;
  };
}
