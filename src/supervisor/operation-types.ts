/** The operations that a client may call, with their arguments, and what they answer: of one child, and of the supervisor. */
import type { MemorySample } from "../wire/memory-sample.js";
import type { ThreadDump } from "../wire/thread-dump.js";
import type { KernelThread } from "./kernel-threads.js";
import type { SupervisionState } from "./supervision-state.js";

/** Operations of the supervisor itself; of those that are restarted or signalled, the target says which. */
export type SupervisorOperation =
  | {
      readonly do: "restart";
      /** What each has to end: ms, `true` for 10 s, `false` to kill it at once. @defaultValue true */
      readonly graceful?: boolean | number;
    }
  | {
      readonly do: "signal";
      readonly signal: "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGUSR2";
    }
  /** As Prometheus reads them. */
  | { readonly do: "metrics" };

/** Operations of each child; times in ms, sizes in bytes. */
export type ChildOperation = (
  | { readonly do: "status" | "thread_dump" | "memory_dump" | "allocation_trace_stop" }
  | { readonly do: "scheduler_dump" | "garbage_profile_stop"; readonly top?: number }
  | {
      readonly do: "memory_sample";
      readonly duration?: number;
      readonly mode?: "sampling" | "exact";
      /** Bytes from one sample to the next. */
      readonly interval?: number;
      /** Whether objects are counted by class. */
      readonly classes?: boolean;
      readonly top?: number;
    }
  | { readonly do: "allocation_trace_start"; readonly duration?: number; readonly top?: number }
  /** `interval` in microseconds. */
  | { readonly do: "cpu_profile"; readonly duration?: number; readonly interval?: number }
  | { readonly do: "garbage_profile_start"; readonly duration?: number }
) & {
  /** Writes the answer to this file, below the supervisor's directory for files; for several instances `{num}` stands for the num of each. */
  readonly file?: string;
};

/** What an operation answers. */
export interface SupervisorAnswers {
  /** Without a target, of all instances. */
  readonly status: SupervisionState;
  readonly restart: { readonly restarted: number };
  readonly signal: { readonly signalled: number };
  readonly metrics: string;
}

/** What one child answers; texts are JSON. */
export interface ChildAnswers {
  readonly status: ChildStatus;
  readonly thread_dump: ThreadDump & {
    /** Its threads as the kernel sees them, if it could not tell its stack. */
    readonly kernel?: readonly KernelThread[];
  };
  readonly scheduler_dump: SchedulerDump;
  /** A heap snapshot, for Chrome's DevTools. */
  readonly memory_dump: string;
  readonly memory_sample: MemorySample;
  /** For Chrome's DevTools. */
  readonly cpu_profile: string;
  readonly allocation_trace_start: { readonly duration: number };
  readonly allocation_trace_stop: MemorySample;
  readonly garbage_profile_start: { readonly duration: number };
  readonly garbage_profile_stop: GarbageProfile;
}

/** What an operation of one child resolves with. */
export type ChildAnswer<Operation extends ChildOperation> = Operation extends {
  readonly file: string;
}
  ? WrittenFile
  : ChildAnswers[Operation["do"]];

/** An answer that was written to a file. */
export interface WrittenFile {
  /** Its path. */
  readonly file: string;
  readonly bytes: number;
}

/** Figures of one child. */
export interface ChildStatus {
  /** `process.version` */
  readonly version: string;
  readonly pid: number;
  /** `threadId` of node:worker_threads; null in a process. */
  readonly thread: number | null;
  /** In ms; of a forked child, that of its fork server. */
  readonly uptime: number;
  readonly memory: NodeJS.MemoryUsage;
  readonly heap: {
    readonly used: number;
    readonly total: number;
    readonly limit: number;
    readonly malloced: number;
    readonly external: number;
    readonly nativeContexts: number;
    readonly detachedContexts: number;
  };
  /** In microseconds. */
  readonly cpu: NodeJS.CpuUsage;
  readonly resourceUsage: NodeJS.ResourceUsage;
  /** What keeps the event loop alive, by type. */
  readonly activeResources: Readonly<Record<string, number>>;
  readonly eventLoop: {
    readonly idle: number;
    readonly active: number;
    readonly utilization: number;
  };
}

/** What a child has under way. */
export interface SchedulerDump {
  readonly resources: Readonly<Record<string, number>>;
  readonly timers: number;
  readonly handles: Described;
  readonly requests: Described;
  readonly eventLoop: {
    /** Over which it is measured, in ms. */
    readonly duration: number;
    readonly idle: number;
    readonly active: number;
    readonly utilization: number;
    /** In ms; null at the first call within a minute. */
    readonly delay: { readonly mean: number; readonly p99: number; readonly max: number } | null;
  };
}

/** Handles or requests, with addresses and descriptors where they have some. */
export interface Described {
  readonly top: readonly (Readonly<Record<string, unknown>> & { readonly type: string })[];
  readonly omitted: number;
}

/** Garbage collections of a child. */
export interface GarbageProfile {
  /** In ms. */
  readonly duration: number;
  readonly pauses: Pauses;
  readonly byKind: Readonly<Record<string, Pauses>>;
  /** The longest, as V8 tells them. */
  readonly statistics: readonly object[];
  readonly omitted: number;
}

/** Times in ms, sizes in bytes. */
export interface Pauses {
  readonly count: number;
  readonly total: number;
  readonly max: number;
  readonly reclaimed: number;
}
