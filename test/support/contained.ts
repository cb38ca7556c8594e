/** Creates a `Container` that is stopped after its test; then no process and no file of it may remain. */
import { existsSync, readFileSync } from "node:fs";
import {
  type ClockInfo,
  Container,
  type ContainerOptions,
  type InstanceEnd,
  type InstanceInfo,
  Policy,
  type RunOptions,
} from "forkmap/container";
import { afterEach, expect, vi } from "vitest";
import { descendants, removeLeftovers, scratchDirectories } from "./leftovers.js";
import { SOON } from "./soon.js";

/** What became of an instance, as its container's policy was told. */
export interface Told {
  readonly hook: "spawned" | "ready" | "exited" | "healthCheckFailed" | "startFailed";
  readonly instance: InstanceInfo;
  readonly end?: InstanceEnd;
  readonly clock?: ClockInfo;
}

/** Writes down what it is told, and warns of nothing. */
export class Recorder extends Policy {
  readonly told: Told[] = [];

  override spawned(_: Container, instance: InstanceInfo): void {
    this.told.push({ hook: "spawned", instance });
  }

  override ready(_: Container, instance: InstanceInfo): void {
    this.told.push({ hook: "ready", instance });
  }

  override exited(_: Container, instance: InstanceInfo, end: InstanceEnd): void {
    this.told.push({ hook: "exited", instance, end });
  }

  override healthCheckFailed(_: Container, instance: InstanceInfo, clock: ClockInfo): void {
    this.told.push({ hook: "healthCheckFailed", instance, clock });
  }

  override startFailed(_: Container, instance: InstanceInfo, clock: ClockInfo): void {
    this.told.push({ hook: "startFailed", instance, clock });
  }

  /** Returns how children have ended. */
  get ends(): InstanceEnd[] {
    return this.told.flatMap(({ end }) => (end ? [end] : []));
  }

  hooks(): string[] {
    return this.told.map(({ hook }) => hook);
  }
}

/** Where instances run. */
export interface Place {
  readonly name: string;
  readonly options: ContainerOptions;
  readonly run: RunOptions;
  /** Of the instance that the container has. */
  readonly kind: "fork" | "spawn" | "thread";
  readonly inThreads?: boolean;
}

export const PROCESSES: readonly Place[] = [
  { name: "forked", options: {}, run: {}, kind: "fork" },
  { name: "spawned", options: { startMethod: "spawn" }, run: {}, kind: "spawn" },
];
export const THREADS: Place = {
  name: "threads",
  options: { startMethod: "thread" },
  run: {},
  kind: "thread",
  inThreads: true,
};
export const HYBRID: Place = {
  name: "threads in processes",
  options: {},
  run: { threads: 1 },
  kind: "fork",
  inThreads: true,
};
export const PLACES: readonly Place[] = [...PROCESSES, THREADS, HYBRID];

/** Longer than any test gives an instance to end. */
const STOP_MS = 8000;

const open = new Set<Container>();

export function contained(options: ContainerOptions = {}): {
  container: Container;
  policy: Recorder;
} {
  const policy = new Recorder();
  const container = new Container({ policy, ...options });
  open.add(container);
  return { container, policy };
}

/** Waits until this no longer throws. */
export async function soon<T>(check: () => T | Promise<T>): Promise<T> {
  return await vi.waitFor(check, SOON);
}

/** Returns what instances have written down. */
export function notesIn(file: string): any[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
}

afterEach(async () => {
  const stopped = Promise.all([...open].map((each) => each.stop(false)));
  open.clear();
  try {
    let isStopped = false;
    void stopped.then(() => (isStopped = true));
    await vi.waitFor(() => expect(isStopped, "stop(false) ended").toBe(true), {
      timeout: STOP_MS,
      interval: 5,
    });
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
    expect(scratchDirectories()).toEqual([]);
  } finally {
    removeLeftovers();
  }
});
