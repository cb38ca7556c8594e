/** What the operations `memory_sample` and `allocation_trace_stop` answer. */

export interface MemorySample {
  readonly mode: "sampling" | "exact";
  /** For how long it was recorded, in ms. */
  readonly duration: number;
  /** That, and what came before and after, in ms. */
  readonly took: number;
  /** `process.memoryUsage()`, in bytes. */
  readonly memory: { readonly before: NodeJS.MemoryUsage; readonly after: NodeJS.MemoryUsage };
  readonly allocated: AllocationReport;
  /** What was allocated and still there in the end: where a leak shows. In a sample, of another part of the time than `allocated`. */
  readonly retained: AllocationReport;
}

/** What one package, file, function or class has. */
export interface ReportLine {
  readonly name: string;
  /** Missing for classes of a sample, of which only the number is known. */
  readonly bytes?: number;
  /** Of objects. */
  readonly count?: number;
}

/** What one function has. */
export interface LocationLine extends ReportLine {
  readonly function: string;
  readonly file: string;
  /** Where the function begins: V8 does not tell in which line it allocates. */
  readonly line: number;
  /** If the function is of Node: the nearest one of the program that has called it. */
  readonly calledBy?: string;
}

/** Part of a report: the largest first. */
export interface Breakdown<Line extends ReportLine = ReportLine> {
  readonly top: readonly Line[];
  /** The lines that it has no room for. */
  readonly omitted: { readonly lines: number; readonly bytes?: number; readonly count?: number };
}

/** What was allocated, or what of it was still there at the end. */
export interface AllocationReport {
  /** Only of a sample, in ms: V8 samples what is allocated for a quarter of the time, and what is kept for the rest. */
  readonly duration?: number;
  readonly bytes: number;
  /** Missing in a sample, which does not have it. Of allocations: optimised code may make several objects in one. */
  readonly count?: number;
  readonly packages: Breakdown;
  readonly files: Breakdown;
  readonly locations: Breakdown<LocationLine>;
  /** Missing where it is not known. */
  readonly classes?: Breakdown;
}
