/**
 * The line protocol, both ends: newline-delimited JSON over a channel of its own (file descriptor 3, never stdout).
 *
 *   -> {"id":"17","payload":{...}}          one item, for one child
 *   <- {"id":"17","status":"ok",...}        what became of it; the result itself lies in scratch
 *
 * A spawned child speaks it itself. The fork server speaks it for all its children: it forks one per request and
 * answers once the child is reaped, adding what the kernel told of it. Requests to the fork server itself have a `do`.
 */
import type { ErrorRecord } from "./error-record.js";
import type { PayloadKind } from "./payload.js";
import type { Frame } from "./worker.js";

/** In the environment of a process that has not reached our entry yet. */
export const ENTRY_MARK = "FORKMAP_ENTRY";

/** Children of one fork server alive at once: each has a cell of shared memory. */
export const MAX_CONCURRENCY = 1024;

/** File descriptor of the channel in every child. */
export const CHANNEL_FD = 3;

/** What a child needs to know of its item. */
export interface Payload {
  readonly index: number;
  readonly attempt: number;
  readonly num: number;
  readonly generation: number;
  /** The item, unless it lies in `itemFile`. */
  readonly item?: unknown;
  readonly itemFile?: string;
  readonly itemKind?: PayloadKind;
  /** Where the result goes; absent when nobody wants it. */
  readonly resultFile?: string;
  /** Where a last word goes that is too long for a line. */
  readonly wordFile: string;
  readonly limits?: Limits;
}

/** Limits the kernel enforces on one child. */
export interface Limits {
  /** Bytes of private memory the child may allocate on top of what it starts with. */
  readonly memory?: number;
  /** Seconds of CPU time, a whole number. */
  readonly cpuSeconds?: number;
  /** Open file descriptors. */
  readonly openFiles?: number;
}

export interface Request {
  readonly id: string;
  readonly payload: Payload;
}

/** A child's last word about its item. Only what comes after the result file is whole may say `ok`. */
export type LastWord =
  | { readonly status: "ok"; readonly kind?: PayloadKind; readonly size?: number }
  | { readonly status: "error"; readonly error: ErrorRecord }
  | { readonly status: "mistyped"; readonly got: string }
  | { readonly status: "exited"; readonly how: "exit" | "drained" }
  | { readonly status: "exited"; readonly how: "uncaught"; readonly error: ErrorRecord }
  | { readonly status: "elsewhere"; readonly file: string };

/** How one child ended, as told by the fork server. */
export interface ChildReport {
  readonly id: string;
  readonly pid: number;
  /** Whether the worker's own code had begun. */
  readonly begun: boolean;
  readonly exitCode?: number;
  /** Number of the signal that ended it. */
  readonly signal?: number;
  /** User CPU and system CPU in microseconds, peak memory in bytes. */
  readonly usage: readonly [number, number, number];
  /** The facts point to memory: V8's heap limit, `limits.memory`, the kernel's out-of-memory killer. */
  readonly outOfMemory?: boolean;
  readonly word?: LastWord;
}

/** Everything needed to have the worker in another process. */
export interface WorkerSource {
  /** Name of the class, for finding its export. */
  readonly name: string;
  /** Source text of the class: two classes may share a name. */
  readonly text: string;
  /** Names of its methods, which survive transpiling when `text` does not. */
  readonly members: readonly string[];
  readonly url: string;
  /** Whether the file holds `text` to the letter; false when a loader has transpiled it. */
  readonly verbatim: boolean;
  /** Whether the user named the module, so that the name of the class is enough. */
  readonly explicit: boolean;
  /** Own fields, serialised by structured clone, base64. */
  readonly fields: string;
  /** Own fields that structured clone cannot carry, each with the reason. */
  readonly unsendable: Readonly<Record<string, string>>;
  /** `process.argv` and `process.execArgv` of the parent: a one-file script runs again up to `new Parallel` and may read them. */
  readonly argv: readonly string[];
  readonly execArgv: readonly string[];
  /** Frames around the children. */
  readonly context: readonly Frame[];
}

/** Requests to the fork server itself. */
export type Order =
  | { readonly do: "load"; readonly worker: WorkerSource; readonly parentPid: number }
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
  readonly error?: ErrorRecord;
  /** Not the worker's module is to blame. */
  readonly unrelated?: boolean;
}

/** What the fork server says of an item before its end. */
export type Notice =
  /** No process could be made for it yet (errno); it waits for a running child to end. */
  | { readonly id: string; readonly waiting: number }
  /** It waited and now runs. */
  | { readonly id: string; readonly started: true }
  /** No process could be made for it, and none was running whose end could help. */
  | { readonly id: string; readonly unstarted: number };

export type FromForkServer = Greeting | Notice | ChildReport;

/** What a spawned child says. */
export type FromSpawnedChild =
  | Greeting
  | { readonly id: string; readonly begun: true }
  | ({ readonly id: string; readonly usage: readonly [number, number, number] } & LastWord);

export function encodeLine(message: unknown): string {
  return `${JSON.stringify(message)}\n`;
}

/** Cuts a byte stream into lines. */
export class LineSplitter {
  #rest: Buffer[] = [];

  /** The lines that `chunk` completes. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      lines.push(this.#rest.length === 0 ? piece.toString() : this.#join(piece));
      start = end + 1;
    }
    // A copy: the caller may fill the same buffer again.
    if (start < chunk.length) this.#rest.push(Buffer.from(chunk.subarray(start)));
    return lines;
  }

  #join(last: Buffer): string {
    const line = Buffer.concat([...this.#rest, last]).toString();
    this.#rest = [];
    return line;
  }
}

const NEWLINE = 10;
