/** What a slot needs of its pool. */
import type { LongItems } from "../wire/items.js";
import type { Child, ChildEvents } from "../launch/launcher.js";
import type { Ledger } from "../wire/ledger.js";
import type { ChildOutput, OutputSource } from "./output/child-output.js";
import type { Start } from "../wire/protocol.js";
import type { Meter } from "../observe/stats.js";
import type { ChildLife } from "../observe/diagnostics.js";

export interface SlotHost {
  /** Children have one item each, which comes with their start. */
  readonly isOneItem: boolean;
  readonly maxItemsPerChild: number;
  /** Tasks a child may have. */
  readonly capacity: number;
  ledger(num: number): Ledger;
  /** Whether this process has the descriptors that one more child takes, and some to spare. */
  hasDescriptors(): boolean;
  startOf(num: number, generation: number): Omit<Start, "payload">;
  /** @throws when this process has not what a child takes */
  launch(start: Start, events: ChildEvents): Child;
  /** What becomes of a child's output, where that is read. */
  outputOf(start: Start, source: OutputSource): ChildOutput | undefined;
  /** Scratch directory of its children. */
  readonly directory: string;
  readonly items: LongItems;
  /** Items wait in this process until a child can begin them: what was taken ahead is taken back at no cost. */
  readonly keepsItems: boolean;
  /** Whether another slot is at work, and will ask for more. */
  isBusyBeside(num: number): boolean;
  /** To be asked when a child could not be started for want of something: whether there is no sense in trying it again. */
  isHopeless(num: number): boolean;
  /** The slot can take more. */
  onFree(): void;
  readonly meter: Meter;
  onChildStart(num: number): void;
  onChildReady(num: number, pid: number | undefined): void;
  onChildEnd(life: ChildLife, hasStarted: boolean): void;
}
