/** Children are copies of one process, yet no two of them may draw the same random numbers. */
import { describe, expect, test } from "vitest";
import { Parallel } from "forkmap";
import { NeverDrawn, Random } from "../../fixtures/random.mjs";

type Draw = Record<string, string | number>;
interface Drawn {
  /** Drawn before the fork: the same in every forked child. */
  readonly early: Draw[];
  readonly draws: Draw[];
  readonly asynchronous?: number;
}

const CHILDREN = 12;

async function drawIn(
  startMethod: "fork" | "spawn",
  worker: object,
  env: Record<string, string> = {},
): Promise<Drawn[]> {
  const parallel = new Parallel(worker as never, { startMethod, env: { ...process.env, ...env } });
  const drawn = (await parallel.mapProcesses(
    Array.from({ length: CHILDREN }, (_, i) => i) as never,
  )) as Drawn[];
  await parallel.close();
  return drawn;
}

function repeated(values: readonly unknown[]): unknown[] {
  return values.filter((value, i) => values.indexOf(value) !== i);
}

describe.each(["fork", "spawn"] as const)(
  "children made by %s never draw the same",
  (startMethod) => {
    test.each([
      ["after module and preload have drawn", Random, {}],
      ["when nothing has been drawn before", NeverDrawn, { FORKMAP_TEST_DRAWS: "none" }],
    ])("%s", async (_when, Worker, env) => {
      const drawn = await drawIn(startMethod, new (Worker as new () => object)(), env);
      const sources = Object.keys(drawn[0]!.draws[0]!);
      expect(sources.length).toBeGreaterThan(10);
      for (const source of sources) {
        const values = drawn.flatMap(({ draws }) => draws.map((each) => each[source]));
        const early = drawn[0]!.early.map((each) => each[source]);
        expect(repeated([...early, ...values]), source).toEqual([]);
      }
      // Some sources share a generator or a buffer, so no value may repeat across sources either.
      const all = drawn.flatMap(({ draws }) => draws.flatMap((each) => Object.values(each)));
      expect(repeated(all)).toEqual([]);
      const asynchronous = drawn.map((each) => each.asynchronous).filter((n) => n !== undefined);
      expect(repeated(asynchronous)).toEqual([]);
    });

    test("numbers are in their usual ranges", async () => {
      for (const { draws } of await drawIn(startMethod, new Random() as object)) {
        for (const each of draws) {
          expect(each["Math.random"]).toBeGreaterThanOrEqual(0);
          expect(each["Math.random"]).toBeLessThan(1);
          expect(each["crypto.randomUUID"]).toMatch(
            /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
          );
          expect(each["crypto.randomInt"]).toBeLessThan(2 ** 47);
        }
      }
    });
  },
);
