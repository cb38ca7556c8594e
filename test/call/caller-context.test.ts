/** Hooks and iterators run in the AsyncLocalStorage context of their own call, whichever call started the work. */
import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { CommandWorker, type AnyWorker, type ParallelOptions } from "forkmap";
import { describe, expect, it } from "vitest";
import { Walker } from "../fixtures/walks.mjs";
import { opened } from "../support/opened.js";
import { program } from "../support/program.js";

const request = new AsyncLocalStorage<string>();

const WAYS: readonly { readonly name: string; readonly options: Partial<ParallelOptions> }[] = [
  { name: "a child per item", options: {} },
  { name: "a pool", options: { pool: 2 } },
  { name: "a pool whose children are replaced", options: { pool: 1, maxItemsPerChild: 2 } },
  { name: "children by spawn", options: { startMethod: "spawn", concurrency: 2 } },
  { name: "a pool by spawn", options: { startMethod: "spawn", pool: 1 } },
  { name: "threads", options: { concurrency: 2 } },
  { name: "threads in processes", options: { pool: 1, threads: 2 } },
  { name: "no processes", options: { pool: 0 } },
  { name: "programs", options: { pool: 1 } },
];

describe.each(WAYS)("with $name", ({ name, options }) => {
  const verb = name === "threads" ? "mapThreads" : "mapProcesses";
  const worker = name === "programs" ? new CommandWorker({ argv: ["sh", WALKER] }) : new Walker();

  function open() {
    const parallel = opened(worker as AnyWorker<unknown, unknown>, options);
    const seen: Record<string, Set<string | undefined>> = {};
    const note = (call: string, where: string) => {
      (seen[call] ??= new Set()).add(`${where}: ${request.getStore()}`);
    };
    return { parallel, seen, note };
  }

  it("hooks and iterators see the caller's context, in the first call and in later ones", async () => {
    const { parallel, seen, note } = open();
    const handle = (call: string) =>
      request.run(call, async () => {
        await parallel[verb](call < "C" ? numbers(call, note) : later(call, note), {
          onStart: () => note(call, "onStart"),
          onFinish: async () => {
            note(call, "onFinish");
            await Promise.resolve();
            note(call, "onFinish later");
          },
        });
        note(call, "after");
      });
    await handle("A");
    await handle("B");
    await Promise.all([handle("C"), handle("D")]);
    for (const [call, places] of Object.entries(seen)) {
      const wheres = ["after", "next", "onFinish later", "onFinish", "onStart", "return"];
      expect([...places].toSorted()).toEqual(wheres.map((where) => `${where}: ${call}`));
    }
  });

  it("they see it also without hooks, and when the call is aborted from another context", async () => {
    const { parallel, seen, note } = open();
    const controller = new AbortController();
    const call = request.run("A", () =>
      parallel[verb](endless("A", note), { signal: controller.signal, batch: 1 }),
    );
    await Promise.all([
      expect(call).rejects.toThrow("enough"),
      sleep(200).then(() => request.run("B", () => controller.abort(new Error("enough")))),
    ]);
    expect([...seen["A"]!].toSorted()).toEqual(["next: A", "return: A"]);
  });

  it.runIf(verb === "mapProcesses")("a reader of a stream keeps its own context", async () => {
    const { parallel, seen, note } = open();
    const stream = request.run("A", () =>
      parallel.stream(numbers("A", note), { onFinish: () => note("A", "onFinish") }),
    );
    await request.run("B", async () => {
      for await (const _ of stream) note("B", "reader");
    });
    expect([...seen["B"]!]).toEqual(["reader: B"]);
    expect([...seen["A"]!].toSorted()).toEqual(["next: A", "onFinish: A", "return: A"]);
  });
});

const WALKER = new URL("../fixtures/commands/walker.sh", import.meta.url).pathname;

type Note = (call: string, where: string) => void;
const ITEMS = [0, 1, 2, 3, 4].map((n) => ({ n, ms: n % 2 }));

function* numbers(call: string, note: Note) {
  try {
    for (const item of ITEMS) {
      note(call, "next");
      yield item;
    }
  } finally {
    note(call, "return");
  }
}

async function* later(call: string, note: Note) {
  try {
    for (const item of ITEMS) {
      await sleep(1);
      note(call, "next");
      yield item;
    }
  } finally {
    note(call, "return");
  }
}

function* endless(call: string, note: Note) {
  try {
    for (let n = 0; ; n += 1) {
      note(call, "next");
      yield { n, ms: 1 };
    }
  } finally {
    note(call, "return");
  }
}

it("`tag` runs in the caller's context, and a finished call holds none of its values", async () => {
  const { code, stdout, stderr } = await program("contexts.mjs", [], ["--expose-gc"]).ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.trim().split("\n");
  expect(lines.slice(0, 2)).toEqual(["A 0: printed", "B 0: printed"]);
  expect(JSON.parse(lines.at(-1)!)).toEqual({
    fork: "gone",
    "fork pool": "gone",
    spawn: "gone",
    "spawn pool": "gone",
    threads: "gone",
    hybrid: "gone",
    inline: "gone",
    command: "gone",
  });
});
