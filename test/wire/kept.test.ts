/** What becomes of a value with each `serialization`: it arrives, the same or as another, or is refused with its path. */
import { CommandWorker, ResultTypeError } from "forkmap";
import { describe, expect, it } from "vitest";
import { EchoJson } from "../fixtures/echo.mjs";
import { GivesHard, HARD } from "../fixtures/hard-to-keep.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";

/** Why the value is refused. */
class No {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}
const no = (what: string) => new No(what);
/** The value arrives as it is. */
const SAME = Symbol("same");

const values = HARD as Record<string, () => unknown>;
const EPOCH = "1970-01-01T00:00:00.000Z";
const gone = (name: string) => `is an instance of ${name} whose memory has been transferred`;

/** By the name of the value: what arrives with "json", and with "advanced". */
const TABLE: Record<string, [json: unknown, advanced: unknown]> = {
  negativeZero: [0, -0],
  negativeZeroInside: [{ a: [0] }, { a: [-0] }],
  undefined: [no("it is undefined"), SAME],
  undefinedProperty: [{ b: 1 }, SAME],
  undefinedInArray: [no("`a.1` is undefined"), SAME],
  hole: [no("`1` is undefined"), SAME],
  nan: [no("`a.b.1` is NaN (a number)"), SAME],
  infinity: [no("`0.0` is -Infinity (a number)"), SAME],
  bigint: [no("`a.0` is a bigint"), SAME],
  symbolKey: [{ a: 1 }, { a: 1 }],
  hiddenProperty: [{ a: 1 }, { a: 1 }],
  getter: [{ a: 1 }, { a: 1 }],
  arrayProperty: [["a"], SAME],
  noPrototype: [{ a: 1 }, { a: 1 }],
  arguments: [
    [{ 0: 1, 1: 2 }],
    no("it has no form in structured clone (#<Object> could not be cloned.)"),
  ],
  date: [{ at: EPOCH }, SAME],
  invalidDate: [no("`at.0` is an invalid Date"), SAME],
  regexp: [no("`0` is an instance of RegExp"), SAME],
  map: [no("`a` is an instance of Map"), SAME],
  set: [no("`0` is an instance of Set"), SAME],
  boxed: [no("`0` is an instance of Number"), SAME],
  boxedSymbol: [no("`0` is an instance of Symbol"), no("`0` is an instance of Symbol")],
  instance: [[{ x: 1, at: EPOCH }], [{ x: 1, at: new Date(0) }]],
  emptyInstance: [
    no("`a` is an instance of Empty, which JSON would turn into {}"),
    no("`a` is an instance of Empty, which structured clone would turn into {}"),
  ],
  toJson: [
    { price: "5 EUR" },
    no("`price` is an instance of Money, which structured clone would turn into {}"),
  ],
  ownToJson: [{ a: 7 }, no("`a.toJSON` is a function")],
  url: [
    { a: "http://a/" },
    no("`a` is an instance of URL, which structured clone would turn into {}"),
  ],
  weakMap: [no("`0` is an instance of WeakMap"), no("`0` is an instance of WeakMap")],
  promise: [no("`a` is an instance of Promise"), no("`a` is an instance of Promise")],
  generator: [no("`a` is an object, which JSON would turn into {}"), no("`a` is a generator")],
  function: [no("`a.b.0` is a function"), no("`a.b.0` is a function")],
  symbol: [no("`0.0` is a symbol"), no("`0.0` is a symbol")],
  cycle: [no("`a.b.0` contains itself"), SAME],
  error: [no("`e` is an instance of RangeError"), SAME],
  bytesInside: [no("`a.0` is an instance of Uint8Array"), SAME],
  bufferInside: [no("`0` is an instance of Buffer"), SAME],
  floats: [no("`a` is an instance of Float32Array"), SAME],
  view: [no("`0` is an instance of DataView"), SAME],
  memory: [no("`0` is an instance of ArrayBuffer"), SAME],
  sharedMemory: [
    no("`0` is an instance of SharedArrayBuffer, which JSON would turn into {}"),
    no("`0` is an instance of SharedArrayBuffer"),
  ],
  proxy: [{ a: { b: 1 } }, no("`a` is a Proxy")],
  inMapValue: [no("it is an instance of Map"), no("`get(k).a.0` is a function")],
  inMapKey: [no("`0` is an instance of Map"), no("`1.keys.0.f` is a function")],
  inObjectKey: [no("it is an instance of Map"), no("`get(an object)` is a symbol")],
  inSet: [no("`a` is an instance of Set"), no("`a.values.1.0` is an instance of Promise")],
  inCause: [no("it is an instance of Error"), no("`cause.b` is an instance of WeakSet")],
  transferredMemory: [
    no("`a.0` is an instance of ArrayBuffer"),
    no(`\`a.0\` ${gone("ArrayBuffer")}`),
  ],
  transferredBytes: [no("`a` is an instance of Uint8Array"), no(`\`a\` ${gone("Uint8Array")}`)],
  transferredView: [no("`a` is an instance of Map"), no(`\`a.get(k)\` ${gone("DataView")}`)],
};

const ADVICE = '`serialization: "advanced"` of new Parallel keeps it';
const NAMES = Object.keys(values);

it("the table has every value", () => {
  expect(Object.keys(TABLE)).toEqual(NAMES);
});

/** What a value is to arrive as, or why not. */
function expectedOf(name: string, serialization: "json" | "advanced"): unknown {
  const [json, advanced] = TABLE[name]!;
  const expected = serialization === "json" ? json : advanced;
  return expected === SAME ? values[name]!() : expected;
}

/** Whether structured clone keeps what JSON does not: only then there is advice. */
function isHelped(name: string): boolean {
  const [json, advanced] = TABLE[name]!;
  return json instanceof No && !(advanced instanceof No);
}

describe.each([
  { startMethod: "fork", pool: 1 },
  { startMethod: "spawn", pool: 1 },
  { pool: 1, threads: 1 },
] as const)("%j", (options) => {
  const open = (Worker: any, serialization: "json" | "advanced") =>
    opened<any, any>(new Worker(), { ...options, serialization, stopOnError: false });

  it.each(["json", "advanced"] as const)("items, %s", async (serialization) => {
    const parallel = open(EchoJson, serialization);
    for (const name of NAMES) {
      const expected = expectedOf(name, serialization);
      const call = parallel.mapProcesses(["first", values[name]!()]);
      if (expected instanceof No) checkItem(name, await rejection(call), expected, serialization);
      else expect((await call)[1], name).toStrictEqual(expected);
    }
  });

  it.each(["json", "advanced"] as const)("results, %s", async (serialization) => {
    const parallel = open(GivesHard, serialization);
    const settled = await parallel.mapSettled(NAMES);
    for (const [i, name] of NAMES.entries()) {
      const expected = expectedOf(name, serialization);
      const found = settled[i]!;
      if (expected instanceof No) checkResult(name, found, expected, serialization);
      else expect(found, name).toStrictEqual({ status: "fulfilled", value: expected });
    }
  });
});

describe("in this process", () => {
  it.each(["json", "advanced"] as const)("the same is refused, %s", async (serialization) => {
    const items = opened<any, any>(new EchoJson(), { pool: 0, serialization });
    const results = opened<any, any>(new GivesHard(), { pool: 0, serialization });
    for (const name of NAMES) {
      const expected = expectedOf(name, serialization);
      // What travels nowhere is not cloned: only the checks before that refuse it.
      if (!(expected instanceof No) || expected.what.startsWith("it has no form in")) continue;
      const error = await rejection(items.mapProcesses(["first", values[name]!()]));
      checkItem(name, error, expected, serialization);
      const [found] = await results.mapSettled([name]);
      checkResult(name, found!, expected, serialization);
    }
  });
});

it("a program gets no advice about serialization", async () => {
  const script = 'while read -r l; do echo \'{"status":"ok","result":1}\'; done';
  const program = opened(new CommandWorker({ argv: ["sh", "-c", script] }), { pool: 1 });
  for (const name of NAMES) {
    const call = program.mapProcesses(["first", values[name]!()]);
    const [expected] = TABLE[name]!;
    if (!(expected instanceof No)) {
      expect(await call).toEqual([1, 1]);
      continue;
    }
    const { message } = await rejection(call);
    expect(message).toContain(`Item 1 is not a JSON value: ${expected.what}. Items travel as JSON`);
    expect(message).not.toContain("serialization");
  }
});

function checkItem(name: string, error: any, { what }: No, serialization: string): void {
  expect(error, name).toBeInstanceOf(TypeError);
  const verb = serialization === "json" ? "is not a JSON value" : "cannot be cloned";
  expect(error.message).toContain(`Item 1 ${verb}: ${what}. `);
  expect(error.message.includes(ADVICE), name).toBe(serialization === "json" && isHelped(name));
  expect(error.cause, name).toBeUndefined();
}

function checkResult(
  name: string,
  found: PromiseSettledResult<unknown>,
  { what }: No,
  serialization: string,
): void {
  const { reason } = found as PromiseRejectedResult;
  expect(reason, name).toBeInstanceOf(ResultTypeError);
  // Of the value itself only what it is, of one inside the path too.
  expect(reason.message).toContain(what.startsWith("it is ") ? what.slice("it is ".length) : what);
  expect(reason.message.includes(ADVICE), name).toBe(serialization === "json" && isHelped(name));
  expect(reason.attempt).toBe(1);
}
