/** What is no function that another process could call is refused at once, and the sentence says what to give instead. */
import { expect, test } from "vitest";
import { Parallel, type WorkerFunction } from "forkmap";
import named from "../fixtures/functions/default-named.mjs";

type Given = WorkerFunction<unknown, unknown>;

test.each<[string, unknown, string]>([
  [
    "a bound function",
    named.bind(undefined),
    "got bound named, which is bound or built in and has no text of its own: write a function that calls it",
  ],
  [
    "a bound function without a name",
    (
      () => (n: number) =>
        n
    )().bind(undefined),
    "got bound, which is bound or built in",
  ],
  ["a built-in function", Math.sqrt, "got sqrt, which is bound or built in"],
  [
    "a generator function",
    function* counts() {},
    "got counts, which is a generator function: its result would be a generator, which cannot leave its process. Return an array",
  ],
  ["an async generator function", async function* counts() {}, "which is a generator function"],
  ["a generator function without a name", (() => function* () {})(), "got one, which is a"],
  [
    "a class without `process`",
    class Empty {
      readonly size = 0;
    },
    "got the class Empty, which has no method",
  ],
  [
    "the same without a name",
    (() =>
      class {
        readonly size = 0;
      })(),
    "got a class, which has no method process(item)",
  ],
])("%s is refused", (_, given, message) => {
  const make = () => new Parallel(given as Given);
  expect(make).toThrow(TypeError);
  expect(make).toThrow(
    /^Expected a function \(item\) => result, or an instance of a class that extends ParallelWorker, got /,
  );
  expect(make).toThrow(message);
});

test("a class in place of its instance is refused", () => {
  class Double {
    process(n: number): number {
      return n * 2;
    }
  }
  const nameless = (() =>
    class {
      process(): void {}
    })();
  expect(() => new Parallel(Double as unknown as Given)).toThrow(
    new TypeError(
      "Expected an instance of Double, got the class itself: write new Parallel(new Double())",
    ),
  );
  expect(() => new Parallel(nameless as unknown as Given)).toThrow(
    new TypeError(
      "Expected an instance of a class, got the class itself: write new Parallel(new Worker())",
    ),
  );
});
