import { describe, expect, it } from "vitest";
import { ResultTypeError } from "forkmap";
import { Bytes, Echo, EchoJson, LateEcho, Long } from "../fixtures/echo.mjs";
import { ReturnsNoJson, ReturnsNoText } from "../fixtures/returns.mjs";
import { Shuffled } from "../fixtures/shuffled.mjs";
import { opened } from "../support/opened.js";

const MIB = 1024 * 1024;
const TEXTS = {
  empty: "",
  "of other alphabets": "Привет, 世界, 🦊 e\u0301",
  "with NUL and other control characters": "a\0b\u0001\r\n\u2028\u2029\u007f",
  "with quotes and backslashes": '"\\u0041"\\',
  "with a byte order mark": "\ufeffa\ufeff",
  "with half a surrogate pair": "a\ud800b\udc00c",
};

describe.each(["fork", "spawn"] as const)("results by %s", (startMethod) => {
  it("keep every text byte for byte, sent early or late", async () => {
    const texts = Object.values(TEXTS);
    expect(await opened(new Echo(), { startMethod }).mapProcesses(texts)).toEqual(texts);
    expect(await opened(new LateEcho(), { startMethod }).mapProcesses(texts)).toEqual(texts);
  });

  it("keep a text of 10 MiB, and one that contains half a surrogate pair", async () => {
    const texts = ["aß\0".repeat((10 * MIB) / 3), `${"x".repeat(2 * MIB)}\ud800`];
    const results = await opened(new Echo(), { startMethod }).mapProcesses(texts);
    // Not toEqual, which would print both texts.
    expect(results.map((each, i) => each === texts[i])).toEqual([true, true]);
  });

  it("keep bytes, as a Uint8Array", async () => {
    const lengths = [0, 1, 1000, 3 * MIB];
    const results = await opened(new Bytes(), { startMethod }).mapProcesses(lengths);
    for (const [i, result] of results.entries()) {
      expect(result.constructor).toBe(Uint8Array);
      expect(result.length).toBe(lengths[i]);
      expect(result.every((byte: number, at: number) => byte === at % 256)).toBe(true);
    }
  });

  it("keep every JSON value of a JsonWorker", async () => {
    const values = [
      null,
      true,
      0,
      -1.5,
      1e300,
      "",
      "\ud800",
      [],
      {},
      [[1, [2]], { a: { b: [null] } }],
      { "": 1, ключ: "ü" },
    ];
    expect(await opened(new EchoJson(), { startMethod }).mapProcesses(values)).toEqual(values);
  });

  it("of a JsonWorker have sorted keys, so that equal values are equal bytes", async () => {
    const results = await opened(new Shuffled(), { startMethod }).mapProcesses([0, 1]);
    expect(results.map((each) => JSON.stringify(each))).toEqual(
      Array(2).fill('{"a":1,"b":{"c":2,"d":3},"e":4}'),
    );
  });

  it("that are neither text nor bytes fail, naming item and type", async () => {
    const expected = {
      undefined: "undefined",
      null: "null",
      number: "7 (a number)",
      object: "an object",
      array: "an array",
      function: "a function",
      symbol: "a symbol",
      date: "an instance of Date",
      blob: "an instance of Blob",
    };
    const errors = await failures(
      opened(new ReturnsNoText(), { startMethod }).mapSettled(Object.keys(expected)),
    );
    for (const [index, got] of Object.values(expected).entries()) {
      expect(errors[index]).toBeInstanceOf(ResultTypeError);
      expect(errors[index]).toMatchObject({ code: "ERR_PARALLEL_RESULT_TYPE", index, attempt: 1 });
      expect(errors[index].message).toContain(
        `Item ${index} returned ${got}, expected a string or a Uint8Array`,
      );
    }
  });

  it("of a JsonWorker that are not JSON values fail, naming item and type", async () => {
    const expected = {
      undefined: "undefined",
      function: "a function",
      symbol: "a symbol",
      NaN: "NaN (a number)",
    };
    const errors = await failures(
      opened(new ReturnsNoJson(), { startMethod }).mapSettled(Object.keys(expected)),
    );
    for (const [index, got] of Object.values(expected).entries()) {
      expect(errors[index]).toBeInstanceOf(ResultTypeError);
      expect(errors[index].message).toContain(`Item ${index} returned ${got}`);
      expect(errors[index].message).toContain(", expected a JSON value");
    }
  });

  it("of a JsonWorker that JSON rejects fail, naming the item", async () => {
    const errors = await failures(
      opened(new ReturnsNoJson(), { startMethod }).mapSettled(["bigint", "cycle", "hostile"]),
    );
    for (const [index, error] of errors.entries()) {
      expect(error).toMatchObject({ index });
      expect(error.message).toMatch(`Item ${index} `);
    }
    expect(errors[2].cause.message).toBe("no JSON");
  });

  it("of a JsonWorker that JSON would silently change fail instead", async () => {
    const items = ["nested NaN", "nested undefined in an array", "map"];
    const settled = await opened(new ReturnsNoJson(), { startMethod }).mapSettled(items);
    expect(settled.map((each) => each.status)).toEqual(Array(3).fill("rejected"));
  });

  it("may be of any type for eachProcess, which discards them", async () => {
    const parallel = opened(new ReturnsNoText(), { startMethod });
    expect(await parallel.eachProcess(["undefined", "number", "function"])).toBe(0);
  });

  it("are fulfilled and rejected in the order of the items with mapSettled", async () => {
    const settled = await opened(new ReturnsNoText(), { startMethod }).mapSettled([
      "text",
      "number",
      "text",
    ]);
    expect(settled.map((each) => each.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(settled[0]).toEqual({ status: "fulfilled", value: "text" });
    expect(settled[1]).toMatchObject({ reason: { index: 1, code: "ERR_PARALLEL_RESULT_TYPE" } });
  });
});

async function failures(call: Promise<PromiseSettledResult<unknown>[]>): Promise<any[]> {
  return (await call).map((each) => (each.status === "rejected" ? each.reason : undefined));
}

it("may have 64 MiB", async () => {
  const [text] = await opened(new Long(), { startMethod: "fork" }).mapProcesses([64 * MIB]);
  expect(text.length).toBe(64 * MIB);
  expect(/^x+$/.test(text)).toBe(true);
});
