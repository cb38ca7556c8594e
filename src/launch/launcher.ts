/** What every start method does for a pool: starts children, carries lines to and from them, tells how each ended. */
import type { LedgerShape, StartRequest, ToChild, ToHost } from "../wire/protocol.js";
import type { LongItems } from "../wire/items.js";
import type { Kind } from "../worker/worker.js";
import type { Usage } from "../errors.js";
import type { Ledger } from "../wire/ledger.js";
import type { Overflow } from "./overflow.js";
import type { OnOutput, OutputPipes } from "./output-pipes.js";

export interface Launcher {
  readonly startMethod: Kind;
  /** Children alive at once when the user does not say. */
  readonly defaultConcurrency: number;
  /** Processes of our own that are alive. */
  readonly pids: readonly number[];
  /** Resolves when a child could be started now; rejects with what keeps it from that. */
  ready(): Promise<void>;
  /** What a pool needs for its children. */
  makeRoom(options: RoomOptions): Promise<Room>;
  /** Ends what is warm; only when no child is alive. */
  close(): Promise<void>;
}

/** Has the launcher of a `Parallel` when one is needed. */
export interface LaunchChoice {
  /** The launcher, ready or on its way. */
  readonly current: Launcher | undefined;
  /** Why it is not the one that would be the best. */
  readonly reason: string | undefined;
  /** The launcher, ready. */
  ready(): Promise<Launcher>;
  /** Ends what is warm, also while it is starting. */
  close(): Promise<void>;
}

export interface RoomOptions {
  readonly scratchRoot: string | undefined;
  readonly shape: LedgerShape;
  /** Whether its children have channels. */
  readonly hasChannels: boolean;
}

/** Where the children of one pool live: their scratch directory, their ledgers, their channels. */
export interface Room {
  /** Empty when they need none. */
  readonly directory: string;
  readonly items: LongItems;
  /** What its children write to stderr is always read, to be passed on where nothing else is asked for. */
  readonly readsStderr?: boolean;
  /** Its children are given an item when they can begin it, and no sooner. */
  readonly keepsItems?: boolean;
  /** Descriptors of this process that a child of it holds as long as it lives; none unless it is said. */
  readonly descriptors?: number;
  /** The slot's ledger, blank. */
  ledger(num: number): Ledger;
  start(request: StartRequest, events: ChildEvents): Child;
  /** When no child of it is alive any more. */
  remove(): Promise<void>;
}

/** Whatever it is, it does not hold the event loop: a call does, see loop-hold.ts. */
export interface Child {
  readonly overflow: Overflow;
  /** Once it is known. */
  readonly pid: number | undefined;
  /** What it prints, where that is read: asked for by the mark in its `Start`, and not possible everywhere. */
  readonly output?: OutputPipes | undefined;
  send(message: ToChild | ToHost): void;
  kill(signal: NodeJS.Signals): void;
}

export interface ChildEvents {
  /** It can be given items, or has begun the one it came with. */
  onReady(): void;
  /** No process could be made for it yet: its time does not count until it is ready. */
  onWaiting(): void;
  /** What it says of its items, or of its threads; not checked. */
  onAnswer(answer: unknown): void;
  /** It has not kept to the protocol; the reason goes on from "its child". */
  onBreach(reason: string): void;
  /** It has printed; only called when `Child` has an output. All it has printed is told before its end is. */
  readonly onOutput?: OnOutput;
  onEnd(end: ChildEnd): void;
}

/** How a child ended. */
export type ChildEnd =
  | {
      readonly started: true;
      /** Unknown when the fork server died before it could say. */
      readonly pid?: number | undefined;
      readonly exitCode?: number | undefined;
      readonly signal?: string | undefined;
      readonly usage?: Usage | undefined;
      /** The facts point to memory: V8's heap limit, `limits.memory`, the kernel's out-of-memory killer. */
      readonly outOfMemory?: boolean | undefined;
      /** Others have ended with it, and any of them may have been the cause. */
      readonly isShared?: boolean | undefined;
      /** Why it ended, when that was not its own doing. */
      readonly reason?: string | undefined;
      /** What it did that it was killed for: a program that does not keep to the protocol. */
      readonly breach?: string | undefined;
    }
  /** `fatal`: an error no other item would escape. `isScarce`: there was no descriptor, process or memory for it. */
  | {
      readonly started: false;
      readonly reason: string;
      readonly fatal?: Error;
      readonly isScarce?: boolean;
      readonly cause?: unknown;
    };
