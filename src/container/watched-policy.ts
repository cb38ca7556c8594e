/** The policy of a container that a controller has made: the user's own, with the controller listening. */
import type { Container } from "./container.js";
import type { InstanceEnd, InstanceInfo } from "./instance-info.js";
import { type ClockInfo, Policy } from "./policy.js";

export interface PolicyWatcher {
  /** The number of ready instances may have changed. */
  onChange(): void;
  /** An instance has failed before it was ready. */
  onFailedStart(instance: InstanceInfo, end: InstanceEnd): void;
}

export class WatchedPolicy extends Policy {
  readonly #own: Policy;
  readonly #watcher: PolicyWatcher;

  constructor(own: Policy, watcher: PolicyWatcher) {
    super();
    this.#own = own;
    this.#watcher = watcher;
  }

  override spawned(container: Container, instance: InstanceInfo): void | Promise<void> {
    return this.#own.spawned(container, instance);
  }

  override ready(container: Container, instance: InstanceInfo): void | Promise<void> {
    this.#watcher.onChange();
    return this.#own.ready(container, instance);
  }

  override replacing(
    container: Container,
    instance: InstanceInfo,
    reason: string,
  ): void | Promise<void> {
    return this.#own.replacing?.(container, instance, reason);
  }

  override exited(
    container: Container,
    instance: InstanceInfo,
    end: InstanceEnd,
  ): void | Promise<void> {
    this.#watcher.onChange();
    if ((end.isFailure || end.isGivenUp) && !end.wasReady)
      this.#watcher.onFailedStart(instance, end);
    return this.#own.exited(container, instance, end);
  }

  override healthCheckFailed(
    container: Container,
    instance: InstanceInfo,
    clock: ClockInfo,
  ): void | Promise<void> {
    return this.#own.healthCheckFailed(container, instance, clock);
  }

  override startFailed(
    container: Container,
    instance: InstanceInfo,
    clock: ClockInfo,
  ): void | Promise<void> {
    return this.#own.startFailed(container, instance, clock);
  }
}
