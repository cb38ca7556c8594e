/** Real processes as supervised instances, and what monitors want to do with them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach } from "vitest";
import type { MonitorContext, SupervisedInstance } from "../../src/supervisor/monitor.js";

const started = new Set<ChildProcess>();

afterEach(async () => {
  const ended = [...started].map((each) => once(each, "exit"));
  // With what it has started.
  for (const { pid } of started) process.kill(-pid!, "SIGKILL");
  await Promise.all(ended);
});

/** Starts Node with this code, and resolves once it has printed its first line. */
export async function node(code: string): Promise<ChildProcess & { readonly pid: number }> {
  const stdio = ["pipe", "pipe", "inherit"] as const;
  const child = spawn(process.execPath, ["-e", code], { stdio: [...stdio], detached: true });
  started.add(child);
  child.once("exit", () => started.delete(child));
  await once(child.stdout, "data");
  return child as typeof child & { readonly pid: number };
}

/** A process that has so many MiB of memory, and waits. */
export function holding(mib: number) {
  return node(
    `globalThis.held = Buffer.alloc(${mib} * 2 ** 20, 1); console.log("ready"); setInterval(() => {}, 1000)`,
  );
}

export function instanceOf(
  { pid }: { readonly pid: number },
  facts: Partial<SupervisedInstance> = {},
): SupervisedInstance {
  return { num: 0, generation: 1, pool: undefined, name: "web", age: 3_600_000, ...facts, pid };
}

/** A context that writes down what is replaced. */
export class Replaced {
  instances: readonly SupervisedInstance[];
  readonly replaced: { readonly instance: SupervisedInstance; readonly reason: string }[] = [];
  readonly metrics = new Map<SupervisedInstance, ReadonlyMap<string, number>>();

  constructor(...instances: readonly SupervisedInstance[]) {
    this.instances = instances;
  }

  get context(): MonitorContext {
    return {
      instances: this.instances,
      programPid: process.pid,
      replace: (instance, reason) => void this.replaced.push({ instance, reason }),
      metricsOf: (instance) => this.metrics.get(instance) ?? new Map(),
    };
  }

  get reasons(): string[] {
    return this.replaced.map(({ reason }) => reason);
  }

  get nums(): number[] {
    return this.replaced.map(({ instance }) => instance.num);
  }
}
