/** The types that TypeScript infers for a worker and its results, checked by `npm run types`; no call is made here. */
import { CommandWorker, JsonWorker, Parallel, ParallelWorker } from "forkmap";
import { describe, expectTypeOf, test } from "vitest";

class Text extends ParallelWorker {
  process(word: string): string {
    return word;
  }
}
class Bytes extends ParallelWorker<number, Uint8Array> {
  async process(n: number): Promise<Uint8Array> {
    return new Uint8Array(n);
  }
}
class Nothing extends ParallelWorker<string, void> {
  process(_word: string): void {}
}
class Measure extends JsonWorker<{ word: string }, { length: number } | null> {
  async process({ word }: { word: string }): Promise<{ length: number } | null> {
    return { length: word.length };
  }
}
class Words extends JsonWorker<string, string[]> {
  process(line: string): string[] {
    return line.split(" ");
  }
}
class Split extends CommandWorker<string, string[]> {
  constructor() {
    super({ argv: ["split"] });
  }
}
class SplitMore extends Split {}

test("a Parallel has the items and results of its worker", () => {
  expectTypeOf(new Parallel(new Text())).toEqualTypeOf<Parallel<string, string>>();
  expectTypeOf(new Parallel(new Bytes())).toEqualTypeOf<Parallel<number, Uint8Array>>();
  // oxlint-disable-next-line typescript/no-invalid-void-type -- a worker for eachProcess returns nothing
  expectTypeOf(new Parallel(new Nothing())).toEqualTypeOf<Parallel<string, void>>();
  expectTypeOf(new Parallel(new Measure(), { pool: 2, timeout: 1000 })).toEqualTypeOf<
    Parallel<{ word: string }, { length: number } | null>
  >();
});

test("a Parallel has the items and results of its program", () => {
  const argv = ["split"];
  const options = { pool: 2 };
  type Expected = Parallel<string, string[]>;
  const worker = new CommandWorker<string, string[]>({ argv });
  expectTypeOf(new Parallel(worker)).toEqualTypeOf<Expected>();
  expectTypeOf(new Parallel(worker, options)).toEqualTypeOf<Expected>();
  expectTypeOf(new Parallel(new Split())).toEqualTypeOf<Expected>();
  expectTypeOf(new Parallel(new SplitMore())).toEqualTypeOf<Expected>();
  expectTypeOf(new Parallel(new CommandWorker({ argv }))).toEqualTypeOf<
    Parallel<unknown, unknown>
  >();
});

describe("the calls", () => {
  const measure = new Parallel(new Measure());
  const words = new Parallel(new Words());
  type Size = { length: number };

  test("resolve with what process returns", () => {
    expectTypeOf(measure.mapProcesses).returns.resolves.toEqualTypeOf<(Size | null)[]>();
    expectTypeOf(measure.mapThreads).returns.resolves.toEqualTypeOf<(Size | null)[]>();
    expectTypeOf(measure.eachProcess).returns.resolves.toBeNumber();
    expectTypeOf(measure.eachThread).returns.resolves.toBeNumber();
    expectTypeOf(measure.mapSettled).returns.resolves.toEqualTypeOf<
      PromiseSettledResult<Size | null>[]
    >();
    expectTypeOf(measure.stream).returns.toEqualTypeOf<AsyncIterableIterator<Size | null>>();
    expectTypeOf(measure.filterMap).returns.resolves.toEqualTypeOf<Size[]>();
    expectTypeOf(words.flatMap).returns.resolves.toEqualTypeOf<string[]>();
    expectTypeOf(measure.some).returns.resolves.toBeBoolean();
    expectTypeOf(measure.every).returns.resolves.toBeBoolean();
    expectTypeOf(measure.find).returns.resolves.toEqualTypeOf<{ word: string } | undefined>();
    expectTypeOf(new Parallel(new Split()).mapProcesses).returns.resolves.toEqualTypeOf<
      string[][]
    >();
  });

  test("accept the items of the worker, from any source, and hooks with their types", () => {
    type Items = Iterable<{ word: string }> | AsyncIterable<{ word: string }>;
    expectTypeOf(measure.mapProcesses).parameter(0).toEqualTypeOf<Items>();
    expectTypeOf(measure.stream).parameter(0).toEqualTypeOf<Items>();
    expectTypeOf(new Parallel(new Split()).mapProcesses)
      .parameter(0)
      .toEqualTypeOf<Iterable<string> | AsyncIterable<string>>();
    type Options = NonNullable<Parameters<typeof measure.mapProcesses>[1]>;
    expectTypeOf<Parameters<NonNullable<Options["onFinish"]>>[0]>().toEqualTypeOf<{
      word: string;
    }>();
    expectTypeOf<Parameters<NonNullable<Options["onFinish"]>>[2]>().toEqualTypeOf<Size | null>();
  });

  test("reject an item of another type", () => {
    const refused = () => [
      // @ts-expect-error -- its items are texts
      new Parallel(new CommandWorker<string, string[]>({ argv: ["x"] })).mapProcesses([{ a: 1 }]),
      // @ts-expect-error -- a text has no number
      measure.mapProcesses([{ word: 1 }]),
      // @ts-expect-error -- an object literal is no worker
      new Parallel({ argv: ["x"] }),
    ];
    expectTypeOf(refused).toBeFunction();
  });
});
