/** The interface of a pool that its slots use. */
import type { LongItems } from "../wire/items.js";
import type { Child, ChildEvents } from "../launch/launcher.js";
import type { Ledger } from "../wire/ledger.js";
import type { ChildOutput, OutputSource } from "./output/child-output.js";
import type { Start } from "../wire/protocol.js";
import type { Meter } from "../observe/stats.js";
import type { ChildLife } from "../observe/diagnostics.js";

export interface SlotHost {
  /** Each child runs one item, which is sent with its start. */
  readonly isOneItem: boolean;
  readonly maxItemsPerChild: number;
  /** How many tasks a child may have at once. */
  readonly capacity: number;
  ledger(num: number): Ledger;
  /** Whether this process has enough free file descriptors for one more child, and a reserve. */
  hasDescriptors(): boolean;
  startOf(num: number, generation: number): Omit<Start, "payload">;
  /** Starts a child. @throws when this process lacks a resource that a child needs */
  launch(start: Start, events: ChildEvents): Child;
  /** Returns the handler of a child's output; `undefined` if the output is not read. */
  outputOf(start: Start, source: OutputSource): ChildOutput | undefined;
  /** Scratch directory of its children. */
  readonly directory: string;
  readonly items: LongItems;
  /** Whether items wait in this process until a child can begin them, so that taking them back costs nothing. */
  readonly keepsItems: boolean;
  /** Whether another slot has tasks, and will ask for more. */
  isBusyBeside(num: number): boolean;
  /** Called when a child could not be started for lack of a resource: counts, and says if another try is pointless. */
  isHopeless(num: number): boolean;
  /** The slot can take more tasks. */
  onFree(): void;
  readonly meter: Meter;
  onChildStart(num: number): void;
  onChildReady(num: number, pid: number | undefined): void;
  onChildEnd(life: ChildLife, hasStarted: boolean): void;
}
