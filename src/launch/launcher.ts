/**
 * What every start method does for a pool: starts children, carries lines to and from them, reports how each ended. The
 * folder holds the start methods (fork/, spawn/, thread/, and program/ for `command`), the choice between fork and
 * spawn, and what they share.
 */
import type { Usage } from "../errors.js";
import type { ItemStore } from "../wire/items.js";
import type { Ledger } from "../wire/ledger.js";
import type { ToInstance } from "../wire/notification.js";
import type { LedgerShape, StartRequest, ToChild, ToHost } from "../wire/protocol.js";
import type { Kind } from "../worker/worker.js";
import type { Supervision } from "../worker/worker-source.js";
import type { OnOutput, OutputPipes } from "./output-pipes.js";
import type { Overflow } from "./overflow.js";

export interface Launcher {
  readonly startMethod: Kind;
  /** How many children are alive at once unless the user sets `concurrency`. */
  readonly defaultConcurrency: number;
  /** Pids of the live processes that this launcher started itself. */
  readonly pids: readonly number[];
  /** Resolves once children can be started; rejects with the reason when they cannot. */
  ready(): Promise<void>;
  /** Creates what a pool needs for its children. */
  makeRoom(options: RoomOptions): Promise<Room>;
  /** Ends the processes kept warm; called only when no child is alive. */
  close(): Promise<void>;
}

/** What the children of a service need beyond the options of `Parallel`. */
export interface ServiceOptions {
  /** Whether the children are instances of a service. */
  readonly isService?: boolean;
  /** Descriptors of listening sockets that all children inherit. */
  readonly sockets?: readonly number[];
  /** Given if a supervisor is to know the children. */
  readonly supervision?: Supervision;
}

/** Creates the launcher of a `Parallel` when it is first needed. */
export interface LaunchChoice {
  /** The launcher, ready or still starting. */
  readonly current: Launcher | undefined;
  /** Why the preferred start method is unavailable, if it is. */
  readonly reason: string | undefined;
  /** Resolves with the launcher once it is ready. */
  ready(): Promise<Launcher>;
  /** Ends the processes kept warm, also while they are starting. */
  close(): Promise<void>;
}

/** A choice whose code is loaded when it is first needed. */
export interface DeferredLaunch extends LaunchChoice {
  load(): Promise<void>;
}

export interface RoomOptions {
  readonly scratchRoot: string | undefined;
  readonly shape: LedgerShape;
  /** Whether the room's children have channels. */
  readonly hasChannels: boolean;
}

/** What a launcher provides for the children of one pool: scratch directory, ledgers, channels. */
export interface Room {
  /** The scratch directory, which may not exist yet; empty when the children need none. */
  readonly directory: string;
  readonly items: ItemStore;
  /** Whether this process always reads the children's stderr, and passes it on when `output` is "inherit". */
  readonly readsStderr?: boolean;
  /** Whether items wait in this process until a child can begin them. */
  readonly keepsItems?: boolean;
  /** How many descriptors of this process each child holds while it lives; 0 by default. */
  readonly descriptors?: number;
  /** Makes the scratch directory, if there is one. */
  makeDirectory?(): void;
  /** Creates the slot's ledger, blank. */
  ledger(num: number): Ledger;
  start(request: StartRequest, events: ChildEvents): Child;
  /** Removes the room; called when none of its children is alive. */
  remove(): Promise<void>;
}

/** A child does not keep the event loop alive; a call does, see loop-hold.ts. */
export interface Child {
  readonly overflow: Overflow;
  /** Undefined until it is known. */
  readonly pid: number | undefined;
  /** The output of a child whose `Start` has a `mark`, if the start method can read it. */
  readonly output?: OutputPipes | undefined;
  send(message: ToChild | ToHost | ToInstance): void;
  kill(signal: NodeJS.Signals): void;
}

export interface ChildEvents {
  /** The child accepts items, or has begun the one it started with. */
  onReady(): void;
  /** No process could be created for the child yet: its time does not count until it is ready. */
  onWaiting(): void;
  /** The child reported on its items, or a host on its threads; `answer` is not checked. */
  onAnswer(answer: unknown): void;
  /** The child violated the protocol; `reason` continues a sentence that begins with "its child". */
  onBreach(reason: string): void;
  /** The child has closed its channel, as it also does when it ends. Only an instance of a service is told of. */
  onClosed?(): void;
  /** The child printed; called only when `Child` has an `output`. All output is passed on before `onEnd`. */
  readonly onOutput?: OnOutput;
  onEnd(end: ChildEnd): void;
}

/** How a child ended. */
export type ChildEnd =
  | {
      readonly started: true;
      /** Unknown when the fork server died before it could report it. */
      readonly pid?: number | undefined;
      readonly exitCode?: number | undefined;
      readonly signal?: string | undefined;
      readonly usage?: Usage | undefined;
      /** The facts point to memory: V8's heap limit, `limits.memory`, the kernel's out-of-memory killer. */
      readonly outOfMemory?: boolean | undefined;
      /** Other children ended with it, and any of them may have been the cause. */
      readonly isShared?: boolean | undefined;
      /** Why the child ended, if it did not end by itself. */
      readonly reason?: string | undefined;
      /** The violation of the protocol that the child was killed for. */
      readonly breach?: string | undefined;
    }
  /** `fatal`: an error that every other item would meet too. `isScarce`: no descriptor, process or memory was free. */
  | {
      readonly started: false;
      readonly reason: string;
      readonly fatal?: Error;
      readonly isScarce?: boolean;
      readonly cause?: unknown;
    };
