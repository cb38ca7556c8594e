/** What a slot needs of its pool, made from the pool's options and the room that the launcher has provided. */
import type { Child, ChildEvents, Room } from "../launch/launcher.js";
import { outside } from "../launch/outside.js";
import * as diagnostics from "../observe/diagnostics.js";
import type { Meter } from "../observe/stats.js";
import type { Limits, OutputMode } from "../options.js";
import { hasDescriptors } from "../system/shortage.js";
import type { ItemStore } from "../wire/items.js";
import { type Ledger, MANY_ITEMS, ONE_ITEM } from "../wire/ledger.js";
import { newMark } from "../wire/output-mark.js";
import type { Start } from "../wire/protocol.js";
import { ChildOutput, type OutputSource } from "./output/child-output.js";

export interface SlotPoolOptions {
  readonly size: number;
  /** Whether all calls of the `Parallel` use this pool. */
  readonly isShared: boolean;
  /** 1: each child is sent its item with its start. */
  readonly maxItemsPerChild: number;
  /** In bytes. */
  readonly maxRss: number | undefined;
  readonly scratchRoot: string | undefined;
  readonly limits: Limits | undefined;
  readonly output: OutputMode;
  /** In ms. */
  readonly closeTimeout: number;
  /** Returns an id for a child that was never used before with the same launcher. */
  readonly nextId: () => string;
  readonly meter: Meter;
  /** Name of the worker's class. */
  readonly worker: string;
}

/** What the pool decides for its slots, as it needs to know all of them or the calls. */
type Siblings = Pick<
  SlotHost,
  "isBusyBeside" | "sparesProcessor" | "isHopeless" | "onChildEnd" | "onFree"
>;

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
  readonly items: ItemStore;
  /** Whether items wait in this process until a child can begin them, so that taking them back costs nothing. */
  readonly keepsItems: boolean;
  /** Whether another slot has tasks, and will ask for more. */
  isBusyBeside(num: number): boolean;
  /** Whether each slot that has tasks, this one among them, and this process can have a processor of its own. */
  sparesProcessor(num: number): boolean;
  /** Called when a child could not be started for lack of a resource: counts, and says if another try is pointless. */
  isHopeless(num: number): boolean;
  /** The slot has changed: it may have room for more tasks. */
  onFree(num: number): void;
  readonly meter: Meter;
  onChildStart(num: number): void;
  onChildReady(num: number, pid: number | undefined): void;
  onChildEnd(life: diagnostics.ChildLife, hasStarted: boolean): void;
}

export function makeSlotHost(room: Room, options: SlotPoolOptions, siblings: Siblings): SlotHost {
  const { maxItemsPerChild, maxRss, limits, nextId, meter, worker, output } = options;
  const { directory, readsStderr, descriptors = 0 } = room;
  const isRead = output !== "inherit" || readsStderr === true;
  const isOneItem = maxItemsPerChild === 1;
  const shape = isOneItem ? ONE_ITEM : MANY_ITEMS;
  return {
    isBusyBeside: siblings.isBusyBeside,
    sparesProcessor: siblings.sparesProcessor,
    isHopeless: siblings.isHopeless,
    onFree: siblings.onFree,
    isOneItem,
    maxItemsPerChild,
    capacity: shape.times,
    ledger: (num) => room.ledger(num),
    hasDescriptors: () => descriptors === 0 || hasDescriptors(descriptors),
    startOf: (num, generation) => ({
      num,
      generation,
      directory,
      shape,
      name: `${num}-${generation}`,
      ...(limits ? { limits } : {}),
      ...(maxRss === undefined ? {} : { maxRss }),
      ...(isRead ? { mark: newMark() } : {}),
    }),
    launch: (start, events) => outside(() => room.start({ id: nextId(), start }, events)),
    outputOf: ({ mark }, source) => (isRead ? new ChildOutput(output, mark!, source) : undefined),
    directory,
    items: room.items,
    keepsItems: room.keepsItems === true,
    meter,
    onChildStart: (num) => meter.childStarted(num),
    onChildReady: (num, pid) => meter.child(num, pid),
    onChildEnd: (life, hasStarted) => {
      meter.child(life.num, undefined);
      if (diagnostics.children.hasSubscribers) {
        diagnostics.children.publish({ worker, ...life } satisfies diagnostics.ChildMessage);
      }
      siblings.onChildEnd(life, hasStarted);
    },
  };
}
