/** Which children a supervisor knows, in whatever order a child and its container tell of it. */
import { expect, test } from "vitest";
import { SupervisorError } from "../../src/errors.js";
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

test("a child that introduces itself before its container tells of it stays known", () => {
  const { registry, told } = known();
  const calls = connection();
  void registry.introduce(facts(), calls);
  registry.update([view({ pid: undefined, state: "starting" })]);
  registry.update([view({ state: "starting" })]);
  registry.update([view({ state: "ready" })]);
  expect(only(registry).calls).toBe(calls);
  expect(isClosed(calls)).toBe(false);
  expect(told).toEqual(["1 registered, generation 1"]);
});

test.each(["waiting", "ended"] as const)("a child whose slot is %s is removed", (state) => {
  const { registry, told } = known();
  registry.update([view()]);
  const calls = connection();
  void registry.introduce(facts(), calls);
  registry.update([view({ pid: undefined, state })]);
  expect(registry.children).toEqual([]);
  // It introduces itself again, should it live.
  expect(isClosed(calls)).toBe(true);
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
  const [late, own] = [connection(), connection()];
  registry.update([view({ generation: 2, pid: 11 })]);
  await registry.introduce(facts({ generation: 2, pid: 11 }), own);
  await expect(registry.introduce(facts(), late)).rejects.toThrow(SupervisorError);
  registry.disconnected(late);
  expect(only(registry)).toMatchObject({ generation: 2, pid: 11, calls: own });
  expect(isClosed(own)).toBe(false);
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

const closed = new WeakSet<object>();

function connection(): Calls {
  const calls = { close: () => void closed.add(calls) };
  return calls as unknown as Calls;
}

function isClosed(calls: Calls): boolean {
  return closed.has(calls);
}
