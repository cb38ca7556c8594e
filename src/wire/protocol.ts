/**
 * The line protocol, both ends: newline-delimited JSON over a channel of its own (never stdout).
 *
 *   -> {"id":"17","payload":{...}}          some items, for one child
 *   <- {"id":"17","status":"ok"}            all are done; what became of each is in the ledger, see ledger.ts
 *   <- {"id":"17","status":"progress"}      some are
 *   <- {"id":"17","status":"returned",...}  some will not be begun
 *   -> {"do":"end"}                         no more items
 *
 * A child for one item has no channel: the item comes with its start, and its end says that the item is done. The fork
 * server is told to start children, and reports how each ended, with what the kernel told of it.
 */
import type { MessagePort } from "node:worker_threads";
import type { ErrorRecord } from "./error-record.js";
import type { Written } from "./payload.js";
import type { Limits } from "../options.js";
import type { WorkerSource } from "../worker/worker-source.js";

/** In the environment of a process that has not reached our entry yet. */
export const ENTRY_MARK = "FORKMAP_ENTRY";

/** An item travels in its line up to so many characters; a longer one apart from it, so that lines stay short. */
export const LONGEST_INLINE = 8 * 1024;

/** What a Node timer can hold (2 ** 31 - 1); a longer one would fire at once. */
export const MAX_DELAY_MS = 2_147_483_647;

/** Slots of one call or pool. */
export const MAX_CONCURRENCY = 1024;

/** Items in flight at once in one child. */
export const MAX_FIBERS = 1024;

/** File descriptor of the channel in the fork server and in spawned children. */
export const CHANNEL_FD = 3;

/** An item too long for a line. */
export type LongItem =
  | ({ readonly file: string } & Written)
  /** For a thread, which gets it beside the line. */
  | { readonly text: string; readonly kind: "text" | "json" };

/** Some items for one child. */
export interface Payload {
  /** Number of the first item within its child; the others follow. */
  readonly seq: number;
  /** Position of the first item in the input; the others follow unless `indexes` has them. */
  readonly index: number;
  readonly indexes?: readonly number[] | undefined;
  /** Which attempt it is, for each item, when one is not the first. */
  readonly attempts?: readonly number[] | undefined;
  readonly items: readonly unknown[];
  /** Items too long for a line, by their place in `items`. */
  readonly long?: Readonly<Record<number, LongItem>> | undefined;
  /** Whether anybody wants the results. */
  readonly results: boolean;
  /** Items in flight at once. */
  readonly fibers: number;
  /** After an error no other item is begun that has the same number here. */
  readonly stopOnError?: number | undefined;
  /** The child ends after these. */
  readonly last?: boolean | undefined;
  /** Bytes of the ledger's text that have been read. */
  readonly read: number;
}

/** How the bytes of a slot's ledger are used, see ledger.ts. */
export interface LedgerShape {
  readonly cellBytes: number;
  /** Items whose times are kept: at least as many as are in a child at once. */
  readonly times: number;
}

/** What a child needs to begin with. */
export interface Start {
  readonly num: number;
  readonly generation: number;
  /** The scratch directory of its pool: its ledger, its channel and the files of its items are in there. Empty for a thread. */
  readonly directory: string;
  readonly shape: LedgerShape;
  /** Place of its ledger among those in the directory, `num` unless given. */
  readonly cell?: number | undefined;
  /** It runs no items but threads that do. */
  readonly isHost?: true | undefined;
  /** Names the files of its items: `<name>-<seq>`. */
  readonly name: string;
  readonly limits?: Limits | undefined;
  /** In bytes; a child that holds more takes no more items. */
  readonly maxRss?: number | undefined;
  /** Its output is read by its parent; for a child with many items this marks whose it is, see output/output-mark.ts. */
  readonly mark?: string | undefined;
  /** The items of a child that gets no others, and has no channel. */
  readonly payload?: Payload | undefined;
}

export interface StartRequest {
  readonly id: string;
  readonly start: Start;
  /** What a forked child prints through is there and open. */
  readonly isPiped?: true;
}

/** What a child with a channel is told. */
export type ToChild = { readonly id: string; readonly payload: Payload } | { readonly do: "end" };

/** What a thread is told; it has no signals. */
export type ToThread = ToChild | { readonly do: "interrupt" };

/** How that comes to it. */
export interface ThreadMail {
  /** The `ToThread` in JSON, but for long items. */
  readonly line: string;
  readonly long?: Payload["long"];
}

/** What a thread begins with. */
export interface ThreadData {
  readonly source: WorkerSource;
  readonly request: StartRequest;
  /** When its parent is this program itself; else its ledger is a file, and so is what is too long for it. */
  readonly memory?: { readonly ledger: SharedArrayBuffer; readonly mail: MessagePort } | undefined;
  /** A word that is not zero once `task.signal` has been read. */
  readonly heeds: Int32Array<SharedArrayBuffer>;
}

/** What a process with threads in it is told. */
export type ToHost =
  | { readonly do: "thread"; readonly request: StartRequest; readonly startupTimeout: number }
  | { readonly do: "tell"; readonly id: string; readonly message: ToChild }
  | { readonly do: "kill"; readonly id: string; readonly signal: NodeJS.Signals }
  | { readonly do: "end" };

/** What it says of the thread `id`. */
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
  /** It could not be started; `module` is the URL of one that is to blame. */
  readonly fatal?: { readonly module: string | undefined; readonly error: ErrorRecord };
}

/** What a child with a channel says once it can be given items. */
export interface ChildGreeting {
  readonly hello: "child";
  readonly id: string;
  readonly pid: number;
}

/** What it says of its items. */
export type Answer = {
  readonly id: string;
  /** It takes no more. */
  readonly full?: true | undefined;
} & (
  | { readonly status: "ok" | "progress" }
  /** Of the items up to `to`, those from `from` on will not be begun. */
  | { readonly status: "returned"; readonly from: number; readonly to: number }
);

/** Where a result is that is too long for the ledger: in one of its child's result buffers, else in a file of its own. */
export type ResultPlace = Written & { readonly buffer?: number | undefined };

/** What became of an item. Only what comes after the result file is whole may say `ok`. */
export type LastWord =
  | ({ readonly status: "ok" } & ResultPlace)
  | { readonly status: "error"; readonly error: ErrorRecord }
  | { readonly status: "mistyped"; readonly got: string }
  /** It is to be tried again after so many ms, and has not been tried. */
  | { readonly status: "throttled"; readonly retryAfter: number }
  /** It is too long for the ledger. */
  | { readonly status: "elsewhere" };

/** Why a child ended, as far as it could tell. */
export type Ending =
  | { readonly how: "exit" | "drained" }
  | { readonly how: "uncaught" | "teardown"; readonly error: ErrorRecord }
  /** It is too long for the ledger. */
  | { readonly how: "elsewhere" };

/** What a thread posts that is too long for its ledger: the result of an item or what became of it, or its own ending. */
export interface Letter {
  /** Number of the item within its child, or `ENDING_LETTER`. */
  readonly about: number;
  readonly value: string | Uint8Array;
}
export const ENDING_LETTER = -1;

/** How one child ended, as told by the fork server. */
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

/** Requests to the fork server itself. */
export type Order =
  | {
      readonly do: "load";
      readonly worker: WorkerSource;
      readonly parentPid: number;
      /** Of the children. */
      readonly readsOutput: boolean;
      /** In ms, for all of it. */
      readonly startupTimeout: number;
    }
  | { readonly do: "scratch"; readonly directory: string }
  | { readonly do: "forget"; readonly directory: string }
  | { readonly do: "kill"; readonly id: string; readonly signal: number };

/** What a warm process says before its first answer. */
export type Greeting =
  | { readonly hello: "ready" }
  /** Fork is not possible here; spawn is. */
  | { readonly hello: "unfit"; readonly reason: string }
  | { readonly hello: "failed"; readonly problem: LoadProblem };

/** Why a worker could not be had in another process. */
export interface LoadProblem {
  readonly message: string;
  readonly error?: ErrorRecord | undefined;
  /** What to do, to be told after the error. */
  readonly advice?: string | undefined;
  /** Not the worker's module is to blame. */
  readonly unrelated?: boolean;
}

/** What the fork server says of a child before its end. */
export type Notice =
  /** No process could be made for it yet (errno); it waits for a running child to end. */
  | { readonly id: string; readonly waiting: number }
  /** It waited and now runs. */
  | { readonly id: string; readonly started: true }
  /** The FIFOs for its output are there, and wait to be opened. */
  | { readonly id: string; readonly piped: true }
  /** They could not be made (errno). */
  | { readonly id: string; readonly unpiped: number }
  /** No process could be made for it, and none was running whose end could help. */
  | { readonly id: string; readonly unstarted: number };

export type FromForkServer = Greeting | Notice | ChildReport;

/** What a spawned child says on its channel. */
export type FromSpawnedChild =
  | Greeting
  | ChildGreeting
  | Answer
  | { readonly usage: readonly [number, number, number] };

/** What a thread says. */
export type FromThread = Greeting | Answer;
