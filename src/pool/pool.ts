/** What a call needs of the place where its tasks run. */
import type { LongItem } from "../wire/payload.js";
import type { TaskOwner } from "./task-owner.js";

export interface Pool {
  /** Tasks that can run at once, `fibers` aside. May be changed at any time. */
  size: number;
  add(owner: TaskOwner): void;
  remove(owner: TaskOwner): void;
  /** Gives what there is to whoever is free; to be called when either may have changed. */
  dispatch(): void;
  /** A long item will not be run any more. */
  releaseItem(item: LongItem): void;
  /** Ends at once what runs of this call. */
  kill(owner: TaskOwner): void;
  /** Takes back what has not been begun of this call's tasks. */
  recall(owner: TaskOwner): void;
  /** Ends all children, also those that have nothing to do. */
  killAll(): void;
  /** Ends once there is nothing to do, and leaves nothing behind. */
  close(): Promise<void>;
}
