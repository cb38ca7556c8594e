/** Which children a supervisor knows, in whatever order a child and its container tell of it. */
import { expect, test } from "vitest";
import { type Child, Registry } from "../../src/supervisor/registry.js";
import type { Calls } from "../../src/wire/calls.js";
import type { ChildFacts, InstanceView } from "../../src/wire/supervision.js";

const RUN = "1-1";

function known() {
  const told: string[] = [];
  const registry = new Registry(RUN, {
    onRegister: ({ num, generation }) =>
      void told.push(`${num} registered, generation ${generation}`),
    onRemove: ({ num, generation }) => void told.push(`${num} removed, generation ${generation}`),
    onEvent: () => {},
  });
  return { registry, told };
}

test("a child that introduces itself before its container tells of it stays known", async () => {
  const { registry, told } = known();
  const calls = connection();
  const introduced = registry.introduce(facts(), calls);
  registry.update([view({ pid: undefined, state: "starting" })]);
  registry.update([view({ state: "starting" })]);
  registry.update([view({ state: "ready" })]);
  await introduced;
  expect(only(registry).calls).toBe(calls);
  expect(calls.isClosed).toBe(false);
  expect(told).toEqual(["1 registered, generation 1"]);
});

test.each(["waiting", "ended"] as const)("a child whose slot is %s is removed", async (state) => {
  const { registry, told } = known();
  registry.update([view()]);
  const calls = connection();
  await registry.introduce(facts(), calls);
  registry.update([view({ pid: undefined, state })]);
  expect(registry.children).toEqual([]);
  // It introduces itself again, should it live.
  expect(calls.isClosed).toBe(true);
  expect(told).toEqual(["1 registered, generation 1", "1 removed, generation 1"]);
});

test("a slot that starts its next child has none of the one before", () => {
  const { registry } = known();
  registry.update([view()]);
  registry.update([view({ pid: undefined, state: "starting", generation: 2 })]);
  expect(registry.children).toEqual([]);
});

test("the connection of a child is not that of the one that has taken its place", async () => {
  const { registry } = known();
  const own = connection();
  registry.update([view({ generation: 2, pid: 11 })]);
  await registry.introduce(facts({ generation: 2, pid: 11 }), own);
  await expect(registry.introduce(facts({ generation: 1 }), connection())).rejects.toThrow(
    "Expected num 1 to be generation 2 with pid 11, got generation 1 with pid 10",
  );
  expect(only(registry)).toMatchObject({ generation: 2, pid: 11, calls: own });
  expect(own.isClosed).toBe(false);
});

function only(registry: Registry): Child {
  expect(registry.children).toHaveLength(1);
  return registry.children[0]!;
}

function facts(more: Partial<ChildFacts> = {}): ChildFacts {
  return {
    run: RUN,
    pool: undefined,
    num: 1,
    generation: 1,
    name: "web",
    kind: "fork",
    pid: 10,
    startedAt: 1,
    version: process.version,
    ...more,
  };
}

function view(more: Partial<InstanceView> = {}): InstanceView {
  return {
    num: 1,
    generation: 1,
    name: "web",
    kind: "fork",
    pid: 10,
    state: "ready",
    status: "",
    startedAt: 1,
    restarts: 0,
    failures: 0,
    lastEnd: undefined,
    isSupervised: true,
    ...more,
  };
}

/** What the registry uses of a connection. */
function connection(): Calls & { isClosed: boolean } {
  const calls = { isClosed: false, close: () => void (calls.isClosed = true) };
  return calls as unknown as Calls & { isClosed: boolean };
}
