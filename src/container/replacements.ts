/** Replaces instances that somebody has asked to be replaced, such as a monitor: one after another, whoever asks. */
import { clearTimeout, setTimeout } from "../system/timers.js";
import { replaceAll } from "./rolling-restart.js";
import type { ServiceSlot } from "./service-slot.js";

/** A child that is neither ready nor ended by then no longer keeps others from being replaced. */
const TURN_MS = 60_000;

interface Request {
  /** The ms that the child has to end. */
  grace: number;
  readonly generation: number;
}

export class Replacements {
  readonly #isStopping: () => boolean;
  readonly #requests = new Map<ServiceSlot, Request>();
  /** Resolves when the last of them has had its turn. */
  #last: Promise<void> = Promise.resolve();

  /** @param isStopping - whether the container is stopped: then none is replaced any more */
  constructor(isStopping: () => boolean) {
    this.#isStopping = isStopping;
  }

  /**
   * Replaces them one after the other, after those that were asked for before: monitors ask for each by itself, and instances that grow alike reach
   * a limit together. One that has another child by then is left out. Of one that was asked for already, the shorter grace counts.
   *
   * @returns those that were not asked for already
   */
  request(slots: readonly ServiceSlot[], grace: number): ServiceSlot[] {
    const fresh = slots.filter((slot) => !this.#hurry(slot, grace));
    for (const slot of fresh) {
      const request = { grace, generation: slot.info().generation };
      this.#requests.set(slot, request);
      this.#last = this.#last.then(async () => {
        await withLimit(this.#replace(slot, request));
        // Also if its new child hangs: whoever asks again shall not be left out for ever.
        this.#requests.delete(slot);
      });
    }
    return fresh;
  }

  /** Returns whether it was asked for already. */
  #hurry(slot: ServiceSlot, grace: number): boolean {
    const request = this.#requests.get(slot);
    if (!request) return false;
    if (grace >= request.grace) return true;
    request.grace = grace;
    slot.hurry(grace);
    return true;
  }

  async #replace(slot: ServiceSlot, request: Request): Promise<void> {
    if (slot.info().generation !== request.generation) return;
    // The policy is told of a child that ends before it is ready.
    await replaceAll([slot], 1, request.grace, this.#isStopping).catch(() => {});
  }
}

async function withLimit(done: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, TURN_MS).unref()));
  await Promise.race([done, late]);
  clearTimeout(timer);
}
