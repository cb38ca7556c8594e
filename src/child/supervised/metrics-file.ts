/** The metrics of this child: in a file that is mapped into memory, or written where that is impossible. */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import {
  type MetricDefinition,
  METRICS_BYTES,
  type MetricsOwner,
  metricsPath,
  MetricsMemory,
} from "../../wire/metrics-file.js";
import type { Libc } from "../libc.js";

/** What every child measures. */
const OWN = {
  forkmap_event_loop_utilization: "Part of the time that the event loop was busy",
  forkmap_event_loop_delay_seconds: "How late a timer of one second was",
  forkmap_items_in_flight: "Items or requests under way",
  forkmap_items_total: "Items or requests that were begun",
};

/** Whose labels the metrics have. */
interface MetricsFileOwner {
  readonly name: string;
  readonly pool: string | undefined;
}

export class MetricsFile {
  readonly memory: MetricsMemory;
  /** Kept open where the file cannot be mapped. */
  readonly #fd: number | undefined;

  private constructor(memory: MetricsMemory, owner: MetricsFileOwner, fd: number | undefined) {
    this.memory = memory;
    this.#fd = fd;
    memory.own(owner);
    for (const [name, help] of Object.entries(OWN)) memory.place(definition(name, help));
    if (fd !== undefined) process.once("exit", () => this.write());
  }

  /** Returns `undefined` if there is no directory yet, or no room on the disk. */
  static open(
    directory: string,
    owner: MetricsOwner & MetricsFileOwner,
    libc: Libc | undefined,
  ): MetricsFile | undefined {
    const { name, pool } = owner;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    let fd: number;
    try {
      fd = openSync(metricsPath(directory, owner), flags, 0o600);
    } catch {
      return undefined;
    }
    try {
      const isNew = fstatSync(fd).size < METRICS_BYTES;
      // Written, as a hole in a mapped file is a SIGBUS once the disk is full.
      if (isNew) writeSync(fd, Buffer.alloc(METRICS_BYTES), 0, METRICS_BYTES, 0);
      if (libc) {
        const memory = libc.mapFile(fd, 0, METRICS_BYTES);
        closeSync(fd);
        return new MetricsFile(new MetricsMemory(memory), { name, pool }, undefined);
      }
      const memory = new ArrayBuffer(METRICS_BYTES);
      readSync(fd, new Uint8Array(memory), 0, METRICS_BYTES, 0);
      return new MetricsFile(new MetricsMemory(memory), { name, pool }, fd);
    } catch {
      abandon(fd);
      return undefined;
    }
  }

  set(name: keyof typeof OWN, value: number): void {
    this.memory.values[this.#place(name)] = value;
  }

  add(name: keyof typeof OWN, count: number): void {
    this.memory.values[this.#place(name)]! += count;
  }

  /** Writes what is not mapped. */
  write(): void {
    if (this.#fd === undefined) return;
    const { used } = this.memory;
    try {
      writeSync(this.#fd, used, 0, used.length, 0);
    } catch {
      // The disk is full; the next time it may not be.
    }
  }

  #place(name: keyof typeof OWN): number {
    return this.memory.place(definition(name, OWN[name]))!;
  }
}

function definition(name: string, help: string): MetricDefinition {
  return { name, help, type: name.endsWith("_total") ? "counter" : "gauge", byNum: true };
}

/** A file that is too short would be mapped by the next child. */
function abandon(fd: number): void {
  try {
    ftruncateSync(fd, 0);
    closeSync(fd);
  } catch {
    // It was closed already.
  }
}
