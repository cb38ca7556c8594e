/** A program that maps with an engine, as those of fixtures/queue/, and what a test asks of its result. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { expect, vi } from "vitest";
import type { Counts } from "./machines.js";
import type { RedisServer } from "./redis-server.js";
import { fixture, startScript } from "./run-script.js";
import { SOON } from "./soon.js";

export interface Mapping {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** Waits for its end. @throws Error with its output if it printed no result */
  result(): Promise<unknown>;
}

/**
 * @param script - in fixtures/queue/
 * @param args - become JSON
 * @param command - starts Node, such as `ip netns exec`
 */
export function startMapping(
  script: string,
  args: readonly unknown[],
  command: readonly string[] = [],
): Mapping {
  const texts = args.map((each) => JSON.stringify(each));
  const child = startScript(fixture(`queue/${script}`), { args: texts, command });
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (output += text));
  const closed = once(child, "close");
  return {
    child,
    output: () => output,
    async result() {
      await closed;
      const line = output.split("\n").find((each) => each.startsWith("{"));
      if (line === undefined) throw new Error(`The program gave no result: ${output}`);
      return JSON.parse(line) as unknown;
    },
  };
}

/** Prints how often items were run; returns how many were run more than once. All `count` must have been. */
export function tellCounts(what: string, counts: Counts, count: number): number {
  const times = new Map<number, number>();
  for (const each of counts.read().values()) times.set(each, (times.get(each) ?? 0) + 1);
  const told = [...times].toSorted().map(([often, items]) => `${items} items ${often} times`);
  console.log(`${what}: ${told.join(", ")}`);
  expect(counts.read().size).toBe(count);
  return count - (times.get(1) ?? 0);
}

/** Waits until there are only the keys that a queue itself keeps: a job is acknowledged after its report. */
export async function expectNoKeys(redis: RedisServer): Promise<void> {
  const own =
    /^bull:[^:]+:(events|meta|id|marker|stalled-check|stalled|completed|forkmap:machines)$/;
  await vi.waitFor(async () => {
    const keys = (await redis.command("KEYS", "*")) as string[];
    expect(keys.filter((key) => !own.test(key))).toEqual([]);
  }, SOON);
}
