/** What a supervised child shows of itself, and what it can be asked for: a runner of items, or an instance of a service. */
import type { Runner } from "./runner.js";

export interface Supervised {
  /** Items or requests under way. */
  inFlight(): number;
  /** Items or requests that were begun. */
  items(): number;
  /** Takes nothing more, so that another child takes its place. */
  replace(reason: string): void;
}

export function supervisedRunner(runner: Runner): Supervised {
  return {
    inFlight: () => runner.inFlight,
    items: () => runner.begun,
    replace: () => runner.end(),
  };
}
