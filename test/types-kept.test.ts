/** Which types of items and results the compiler accepts with each `serialization`, checked by `npm run types`; no call is made here. */
import { CommandWorker, JsonWorker, Parallel, ParallelWorker, type TaskContext } from "forkmap";
import { describe, expectTypeOf, test } from "vitest";

const ADVANCED = { serialization: "advanced" } as const;

/** A worker with these items and results, and a function with them. */
class Json<Item, Result> extends JsonWorker<Item, Result> {
  process(_item: Item): Result {
    throw new Error("never called");
  }
}
class Own<Item, Result> extends ParallelWorker<Item, Result> {
  process(_item: Item): Result {
    throw new Error("never called");
  }
}
declare function fn<Item, Result>(): (item: Item) => Result;

type Tree = { readonly name: string; readonly children: readonly Tree[] };
type DatedTree = { readonly at: Date; readonly children: readonly DatedTree[] };
type Value = string | number | boolean | null | Value[] | { [key: string]: Value };
interface Person {
  readonly name: string;
  readonly age?: number;
  readonly friends: readonly Person[];
}
interface WithMethod {
  readonly name: string;
  greet(): string;
}
interface Deep {
  readonly a: { readonly b: readonly { readonly c: { readonly d: bigint } }[] };
}
type Shape = { kind: "circle"; r: number } | { kind: "box"; sides: [number, number] };
type Level = 0 | 1;

describe("a function", () => {
  test("gives its Parallel the types of its item and result", () => {
    const make = () => [
      expectTypeOf(new Parallel((word: string) => word.length)).toEqualTypeOf<
        Parallel<string, number>
      >(),
      expectTypeOf(new Parallel(async (n: number) => ({ n }))).toEqualTypeOf<
        Parallel<number, { n: number }>
      >(),
      expectTypeOf(new Parallel((n: number, task: TaskContext) => [n, task.index])).toEqualTypeOf<
        Parallel<number, number[]>
      >(),
      expectTypeOf(new Parallel((bytes: Uint8Array) => bytes)).toEqualTypeOf<
        Parallel<Uint8Array, Uint8Array>
      >(),
      // oxlint-disable-next-line typescript/no-invalid-void-type -- a function for eachProcess returns nothing
      expectTypeOf(new Parallel((_word: string) => {})).toEqualTypeOf<Parallel<string, void>>(),
      // oxlint-disable-next-line typescript/no-invalid-void-type -- the same
      expectTypeOf(new Parallel(async (_word: string) => {})).toEqualTypeOf<
        Parallel<string, void>
      >(),
      expectTypeOf(new Parallel((item: unknown) => item)).toEqualTypeOf<
        Parallel<unknown, unknown>
      >(),
      expectTypeOf(new Parallel((item: any) => item as any)).toEqualTypeOf<Parallel<any, any>>(),
      expectTypeOf(new Parallel(() => 1)).toEqualTypeOf<Parallel<unknown, number>>(),
      expectTypeOf(new Parallel((at: Date) => new Map([[at, 1n]]), ADVANCED)).toEqualTypeOf<
        Parallel<Date, Map<Date, bigint>>
      >(),
      expectTypeOf(
        new Parallel(async (at: Date, { attempt }) => new Set([at, attempt]), ADVANCED),
      ).toEqualTypeOf<Parallel<Date, Set<number | Date>>>(),
    ];
    expectTypeOf(make).toBeFunction();
  });

  test("is refused with what JSON does not keep", () => {
    const refused = () => [
      // @ts-expect-error -- a Date as item
      new Parallel((at: Date) => at.getTime()),
      // @ts-expect-error -- a Map as result
      new Parallel((word: string) => new Map([[word, 1]])),
      // @ts-expect-error -- the same, later
      new Parallel(async (word: string) => new Map([[word, 1]])),
      // @ts-expect-error -- bytes inside
      new Parallel((word: string) => ({ word, bytes: new Uint8Array(1) })),
      // @ts-expect-error -- a bigint
      new Parallel((word: string) => BigInt(word), { pool: 1 }),
      // @ts-expect-error -- JSON is said
      new Parallel((at: Date) => at.getTime(), { serialization: "json" }),
      // @ts-expect-error -- three parameters
      new Parallel((_a: string, _b: TaskContext, _c: number) => 1),
      // @ts-expect-error -- the second is no task
      new Parallel((_a: string, _b: number) => 1),
      // @ts-expect-error -- no such serialization
      new Parallel((word: string) => word, { serialization: "v8" }),
    ];
    expectTypeOf(refused).toBeFunction();
  });
});

test("types that JSON keeps are accepted, as items and as results", () => {
  const accepted = () => [
    new Parallel(new Json<string, number>()),
    new Parallel(new Json<Tree, Tree>()),
    new Parallel(new Json<Value, Value>()),
    new Parallel(new Json<Person, Person | undefined>()),
    new Parallel(new Json<Shape, Shape | null>()),
    new Parallel(new Json<Level, "a" | "b">()),
    new Parallel(new Json<[string, number?], readonly [boolean, ...string[]]>()),
    new Parallel(new Json<Record<string, number[]>, Partial<Person>>()),
    new Parallel(new Json<{ a?: undefined; b: string | undefined }, object>()),
    new Parallel(new Json<Uint8Array, Uint8Array>()),
    new Parallel(new Json<string | Uint8Array, Uint8Array | null>()),
    new Parallel(new Json<unknown, unknown>()),
    new Parallel(new Json<any, any>()),
    new Parallel(new Json<{ a: unknown; b: any[] }, never>()),
    new Parallel(new Own<string, string>()),
    new Parallel(new Own<Uint8Array, Uint8Array>()),
    new Parallel(new Own<Tree, string | Uint8Array>()),
    // oxlint-disable-next-line typescript/no-invalid-void-type -- a worker for eachProcess returns nothing
    new Parallel(new Own<Person, void>()),
    new Parallel(new Own<any, any>()),
    new Parallel(fn<Tree, Value>()),
    new Parallel(fn<Shape, Person[]>()),
    new Parallel(fn<[string, number?], readonly [boolean, ...string[]]>()),
    new Parallel(new CommandWorker<Tree, Person[]>({ argv: ["x"] })),
  ];
  expectTypeOf(accepted).toBeFunction();
});

test("types that JSON changes are refused, as items and as results", () => {
  const refused = () => [
    // @ts-expect-error -- a Date as item
    new Parallel(new Json<Date, string>()),
    // @ts-expect-error -- a Date as result
    new Parallel(new Json<string, Date>()),
    // @ts-expect-error -- a Date in one of the types
    new Parallel(new Json<string | { at: Date }, string>()),
    // @ts-expect-error -- a Date in an optional property
    new Parallel(new Json<{ at?: Date }, string>()),
    // @ts-expect-error -- a Date in a recursive type
    new Parallel(new Json<DatedTree, string>()),
    // @ts-expect-error -- a Date in a record
    new Parallel(new Json<Record<string, Date>, string>()),
    // @ts-expect-error -- a Date in a tuple
    new Parallel(new Json<[string, Date], string>()),
    // @ts-expect-error -- a Map
    new Parallel(new Json<Map<string, number>, string>()),
    // @ts-expect-error -- a Set that cannot be changed
    new Parallel(new Json<string, { a: ReadonlySet<number> }>()),
    // @ts-expect-error -- bytes inside an object
    new Parallel(new Json<{ bytes: Uint8Array }, string>()),
    // @ts-expect-error -- a Buffer inside an array
    new Parallel(new Json<string, Buffer[]>()),
    // @ts-expect-error -- another typed array
    new Parallel(new Json<Float64Array, string>()),
    // @ts-expect-error -- memory
    new Parallel(new Json<ArrayBuffer, string>()),
    // @ts-expect-error -- a method
    new Parallel(new Json<WithMethod, string>()),
    // @ts-expect-error -- a function
    new Parallel(new Json<string, { f: (n: number) => number }>()),
    // @ts-expect-error -- a bigint
    new Parallel(new Json<bigint, string>()),
    // @ts-expect-error -- a bigint deep inside
    new Parallel(new Json<string, Deep>()),
    // @ts-expect-error -- a symbol
    new Parallel(new Json<{ s: symbol }, string>()),
    // @ts-expect-error -- a RegExp
    new Parallel(new Json<RegExp, string>()),
    // @ts-expect-error -- a promise inside
    new Parallel(new Json<string, { a: Promise<string> }>()),
    // @ts-expect-error -- undefined in an array
    new Parallel(new Json<(string | undefined)[], string>()),
    // @ts-expect-error -- undefined in an array of the result
    new Parallel(new Json<string, { a: readonly (number | undefined)[] }>()),
    // @ts-expect-error -- a Date as item of a ParallelWorker
    new Parallel(new Own<Date, string>()),
    // @ts-expect-error -- a number as result of a ParallelWorker
    new Parallel(new Own<string, number>()),
    // @ts-expect-error -- a Map as one of its results
    new Parallel(new Own<string, string | Map<string, string>>()),
    // @ts-expect-error -- the same with options
    new Parallel(new Json<Date, string>(), { pool: 2, onFinish() {} }),
    // @ts-expect-error -- undefined in a tuple
    new Parallel(new Json<[string, number | undefined, null], string>()),
    // @ts-expect-error -- a function
    new Parallel(fn<DatedTree, string>()),
    // @ts-expect-error -- undefined in an array of a function
    new Parallel(fn<(string | undefined)[], string>()),
    // @ts-expect-error -- a function that returns a Deep
    new Parallel(fn<string, Deep>()),
  ];
  expectTypeOf(refused).toBeFunction();
});

test("all types are accepted with advanced, and keep their names in the calls", () => {
  const accepted = () => [
    new Parallel(new Json<Date, Map<string, Set<bigint>>>(), ADVANCED),
    new Parallel(new Json<DatedTree, Deep>(), { pool: 2, serialization: "advanced" }),
    new Parallel(new Json<(string | undefined)[], { bytes: Uint8Array }>(), ADVANCED),
    new Parallel(new Own<Map<string, Date>, number>(), ADVANCED),
    new Parallel(new Own<Error, RegExp>(), ADVANCED),
    new Parallel(new Own<string, string>(), ADVANCED),
    new Parallel(fn<DatedTree, bigint>(), ADVANCED),
  ];
  expectTypeOf(accepted).toBeFunction();
  const make = () => new Parallel(new Own<Map<string, Date>, Set<bigint>>(), ADVANCED);
  type Made = ReturnType<typeof make>;
  expectTypeOf<Made>().toEqualTypeOf<Parallel<Map<string, Date>, Set<bigint>>>();
  expectTypeOf<Made["mapProcesses"]>().returns.resolves.toEqualTypeOf<Set<bigint>[]>();
  expectTypeOf<Parameters<Made["run"]>[0]>().toEqualTypeOf<Map<string, Date>>();
});
