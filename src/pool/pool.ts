/** The interface between calls and the place where their tasks run: `SlotPool` (children in slots) or `InlinePool`. */
import type { EncodedItem } from "../wire/payload.js";
import type { TaskOwner } from "./task-owner.js";

export interface Pool {
  /** How many tasks can run at once, apart from `fibers`. May be changed at any time. */
  size: number;
  /** How many ms of work a batch should be; by default as many as suit a child of this process. */
  readonly batchMs?: number;
  /** Less work than this, in ms, stays in one batch when the last items are divided; by default as suits a child of this process. */
  readonly indivisibleMs?: number;
  add(owner: TaskOwner): void;
  /** Resolves once nothing of the call is left. */
  remove(owner: TaskOwner): void | Promise<void>;
  /** How many machines serve the worker, if it runs on others. */
  readonly machines?: number;
  /** Notes that a call may have tasks; `dispatch` asks it for them. */
  wants(owner: TaskOwner): void;
  /** `true` while `dispatch` gives nothing, because other events have their turn before the next tasks. */
  readonly isResting?: boolean;
  /** Gives the tasks of calls to slots that have room. Called when there may be more of either. */
  dispatch(): void;
  /** Removes the file of a long item that will not run again. */
  releaseItem(item: EncodedItem): void;
  /** Ends the running tasks of this call at once. */
  kill(owner: TaskOwner): void;
  /** Takes back the tasks of this call that have not begun. */
  recall(owner: TaskOwner): void;
  /** Ends all children at once, also idle ones. */
  killAll(): void;
  /** Ends the pool when all tasks are done, and removes its processes and files. */
  close(): Promise<void>;
}
