/**
 * The folder holds what parent and child share: messages, ledger, scratch files, errors as JSON. Here: the line
 * protocol, newline-delimited JSON over a channel of its own (never stdout).
 *
 *   -> {"id":"17","payload":{...}}          some items, for one child
 *   <- {"id":"17","status":"ok"}            all are done; the ledger holds their outcomes, see ledger.ts
 *   <- {"id":"17","status":"progress"}      some are done
 *   <- {"id":"17","status":"returned",...}  some will not be begun
 *   -> {"do":"end"}                         no more items
 *
 * A child for one item has no channel: it receives the item with its start, and its end means that the item is done.
 * The fork server receives requests to start children, and reports how each child ended, as the kernel reported it.
 */
import type { MessagePort } from "node:worker_threads";
import type { Limits } from "../options.js";
import type { WorkerSource } from "../worker/worker-source.js";
import type { Kind } from "../worker/worker.js";
import type { ErrorRecord } from "./error-record.js";
import type { FromInstance, ServiceStart, ToInstance } from "./notification.js";
import type { EncodedItem, ShortBytes, Written } from "./payload.js";

/** Environment variable of a process that has not reached our entry module yet. */
export const ENTRY_MARK = "FORKMAP_ENTRY";

/** An item of up to this many characters travels in its line; a longer one separately, so that lines stay short. */
export const LONGEST_INLINE = 8 * 1024;

/** The longest delay of a Node timer (2 ** 31 - 1); with a longer delay it would fire at once. */
export const MAX_DELAY_MS = 2_147_483_647;

/** The most slots of one call or pool. */
export const MAX_CONCURRENCY = 1024;

/** The most items in flight at once in one child. */
export const MAX_FIBERS = 1024;

/** File descriptor of the channel in the fork server and in spawned children. */
export const CHANNEL_FD = 3;

/** Some items for one child. */
export interface Payload {
  /** Number of the first item within its child; the others follow. */
  readonly seq: number;
  /** Position of the first item in the input; the others follow unless `indexes` has them. */
  readonly index: number;
  readonly indexes?: readonly number[] | undefined;
  /** Number of the attempt for each item; missing when all are first attempts. */
  readonly attempts?: readonly number[] | undefined;
  readonly items: readonly unknown[];
  /** Items that are no JSON, or too long for a line, by their place in `items`. */
  readonly encoded?: Readonly<Record<number, EncodedItem>> | undefined;
  /** Whether the call keeps the results. */
  readonly results: boolean;
  /** Items in flight at once. */
  readonly fibers: number;
  /**
   * Given if the first error ends the call: numbers the call among those that the child has served. After an error the
   * child begins no other item with the same number.
   */
  readonly stopOnError?: number | undefined;
  /** The child ends after these items. */
  readonly last?: boolean | undefined;
  /** A processor is free, so the child may wait for the next items without sleeping, see spin.ts. */
  readonly spin?: true | undefined;
  /** Bytes of the ledger's text that the parent has read. */
  readonly read: number;
}

/** How the bytes of a slot's ledger are used, see ledger.ts. */
export interface LedgerShape {
  readonly cellBytes: number;
  /** Number of items whose times are kept: at least as many as a child has at once. */
  readonly times: number;
}

/** What a child needs to start. */
export interface Start {
  readonly num: number;
  readonly generation: number;
  /** The scratch directory of the pool, for the child's channel and files. Empty for a thread without a host. */
  readonly directory: string;
  readonly shape: LedgerShape;
  /** Position of the child's ledger in the ledger file, `num` unless given. */
  readonly cell?: number | undefined;
  /** The child is a host: it runs threads, which run the items. */
  readonly isHost?: true | undefined;
  /** Prefix of the files of the child's items: `<name>-<seq>`. */
  readonly name: string;
  readonly limits?: Limits | undefined;
  /** In bytes; a child that holds more memory takes no more items. */
  readonly maxRss?: number | undefined;
  /** Given if the parent reads the child's output; separates the output of many items, see output-mark.ts. */
  readonly mark?: string | undefined;
  /** The items of a child that gets no others, and has no channel. */
  readonly payload?: Payload | undefined;
  /** The child is an instance of a service, and runs no items. */
  readonly service?: ServiceStart | undefined;
}

export interface StartRequest {
  readonly id: string;
  readonly start: Start;
  /** The FIFOs for the output of a forked child exist, and the parent has opened them. */
  readonly isPiped?: true;
}

/** A message to a child with a channel. */
export type ToChild = { readonly id: string; readonly payload: Payload } | { readonly do: "end" };

/** A message to a thread; "interrupt" replaces a signal, which a thread cannot receive. */
export type ToThread = ToChild | ToInstance | { readonly do: "interrupt" };

/** The form in which a `ToThread` is posted. */
export interface ThreadMail {
  /** The `ToThread` as JSON, without its encoded items. */
  readonly line: string;
  readonly encoded?: Payload["encoded"];
}

/** The `workerData` of a thread. */
export interface ThreadData {
  readonly source: WorkerSource;
  readonly request: StartRequest;
  /** Only for a thread of the user's program; a thread of a host has its ledger and its overflow in files. */
  readonly memory?: { readonly ledger: SharedArrayBuffer; readonly mail: MessagePort } | undefined;
  /** A word that is not zero once the worker has read `task.signal`; and the one of `ThreadHold`. */
  readonly heeds: Int32Array<SharedArrayBuffer>;
}

/** The word by which a thread keeps its parent from terminating it: to cut the loading of native code short aborts the process. */
export const ThreadHold = { word: 1, words: 2, free: 0, held: 1, ended: 2 } as const;

/** A message to a host. */
export type ToHost =
  | { readonly do: "thread"; readonly request: StartRequest; readonly startupTimeout: number }
  | { readonly do: "tell"; readonly id: string; readonly message: ToChild }
  | { readonly do: "kill"; readonly id: string; readonly signal: NodeJS.Signals }
  | { readonly do: "end" };

/** A message from a host about the thread `id`. */
export type FromHost = { readonly status: "thread"; readonly id: string } & (
  | { readonly ready: true }
  | { readonly answer: Answer }
  | { readonly end: ThreadEnd }
);

/** How a thread ended. */
export interface ThreadEnd {
  readonly exitCode?: number | undefined;
  readonly outOfMemory?: boolean | undefined;
  readonly reason?: string | undefined;
  /** The thread could not be started; `module` is the URL of the module that caused it, if one did. */
  readonly fatal?: { readonly module: string | undefined; readonly error: ErrorRecord };
}

/** The first message of a child with a channel: it can receive items. */
export interface ChildGreeting {
  readonly hello: "child";
  readonly id: string;
  readonly pid: number;
}

/** A message from a child about its items. */
export type Answer = {
  readonly id: string;
  /** The child takes no more items. */
  readonly full?: true | undefined;
} & (
  | { readonly status: "ok" | "progress" }
  /** The items from `from` up to, not including, `to` will not be begun. */
  | { readonly status: "returned"; readonly from: number; readonly to: number }
);

/** Where a result too long for the ledger lies: in one of the child's result buffers, else in a file of its own. */
export type ResultPlace = Written & { readonly buffer?: number | undefined };

/** The outcome of an item. `ok` is written only after the result file, if there is one, is complete. */
export type LastWord =
  | ({ readonly status: "ok" } & (ResultPlace | ShortBytes))
  | { readonly status: "error"; readonly error: ErrorRecord }
  | { readonly status: "mistyped"; readonly got: string }
  /** The item has not been tried; retry it after `retryAfter` ms. */
  | { readonly status: "throttled"; readonly retryAfter: number }
  /** The outcome is too long for the ledger and lies in a file. */
  | { readonly status: "elsewhere" };

/** Why a child ended, as far as the child knows. */
export type Ending =
  | { readonly how: "exit" | "drained" }
  | { readonly how: "uncaught" | "teardown"; readonly error: ErrorRecord }
  /** The ending is too long for the ledger and lies in a file. */
  | { readonly how: "elsewhere" };

/** Overflow posted by a thread: the result or the outcome of an item, or the thread's own ending. */
export interface Letter {
  /** Number of the item within its child, or `ENDING_LETTER`. */
  readonly about: number;
  readonly value: string | Uint8Array;
}
export const ENDING_LETTER = -1;

/** How one child ended, as reported by the fork server. */
export interface ChildReport {
  readonly id: string;
  readonly pid: number;
  readonly exitCode?: number;
  /** Number of the signal that ended it. */
  readonly signal?: number;
  /** User CPU and system CPU in microseconds, peak memory in bytes. */
  readonly usage: readonly [number, number, number];
  /** The facts point to memory: V8's heap limit, `limits.memory`, the kernel's out-of-memory killer. */
  readonly outOfMemory?: boolean;
}

/** Requests to the fork server other than to start a child. */
export type Order =
  | {
      readonly do: "load";
      readonly worker: WorkerSource;
      readonly parentPid: number;
      /** Whether the parent reads the output of the children. */
      readonly readsOutput: boolean;
      /** In ms, to load the worker and to run `preload`. */
      readonly startupTimeout: number;
      /** How many listening sockets follow the channel; all children share them. */
      readonly sockets: number;
    }
  | { readonly do: "scratch"; readonly directory: string }
  | { readonly do: "forget"; readonly directory: string }
  | { readonly do: "kill"; readonly id: string; readonly signal: number };

/** The first message of a process that has loaded the worker, or failed to. */
export type Greeting =
  /** `change`: a variable that the worker uses has another value here than in the program. */
  | { readonly hello: "ready"; readonly change?: string | undefined }
  /** Fork is not possible here; spawn is. */
  | { readonly hello: "unfit"; readonly reason: string }
  | { readonly hello: "failed"; readonly problem: LoadProblem };

/** Why a worker could not be recreated in another process. */
export interface LoadProblem {
  readonly message: string;
  readonly error?: ErrorRecord | undefined;
  /** What the user can do; follows the error in the message. */
  readonly advice?: string | undefined;
  /** The worker's module did not cause the problem. */
  readonly unrelated?: boolean;
}

/** A message from the fork server about a child before its end. */
export type Notice =
  /** fork failed (errno); the request waits until a running child ends. */
  | { readonly id: string; readonly waiting: number }
  /** The child waited and now runs. */
  | { readonly id: string; readonly started: true }
  /** The FIFOs for the child's output exist; the parent can open them. */
  | { readonly id: string; readonly piped: true }
  /** The FIFOs could not be created (errno). */
  | { readonly id: string; readonly unpiped: number }
  /** fork failed (errno), and no child is running whose end could help. */
  | { readonly id: string; readonly unstarted: number };

export type FromForkServer = Greeting | Notice | ChildReport;

/** What a spawned child reads before its `StartRequest`. */
export interface SpawnedLoad {
  readonly worker: WorkerSource;
  readonly kind: Kind;
}

/** A message from a spawned child on its channel. */
export type FromSpawnedChild =
  | Greeting
  | ChildGreeting
  | Answer
  | FromInstance
  | { readonly usage: readonly [number, number, number] };

/** A message from a thread. */
export type FromThread = Greeting | Answer | FromInstance;
