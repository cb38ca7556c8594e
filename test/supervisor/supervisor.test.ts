/** A supervisor in a container: who is known to it, what it does when asked, and what becomes of it. */
import { existsSync, writeFileSync } from "node:fs";
import { Parallel } from "forkmap";
import { CommandService, type ContainerOptions, type InstanceInfo } from "forkmap/container";
import {
  MemoryMonitor,
  Supervisor,
  SupervisorClient,
  SupervisorError,
  type SupervisionState,
  type SupervisorOptions,
} from "forkmap/supervisor";
import { afterEach, describe, expect, test } from "vitest";
import {
  Counts,
  Ends,
  Hangs,
  Keeps,
  SlowSupervisor,
  Throws,
  Turns,
  Verbose,
} from "../fixtures/supervised/turns.mjs";
import { contained, PROCESSES, soon } from "../support/contained.js";
import { temporaryDirectory } from "../support/temporary.js";

const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function begin(options: ContainerOptions, count: number, own: SupervisorOptions = {}) {
  const { container, policy } = contained(options);
  const supervisor = new Supervisor(own);
  container.spawn(supervisor, { name: "supervisor", restart: "always" });
  container.run(new Turns(), { count, restart: "always", supervised: true });
  await container.waitUntilReady();
  const client = await SupervisorClient.connect(supervisor.directory);
  ends.push(() => client.close());
  await known(client, count);
  const infoOf = (num: number): InstanceInfo =>
    container.instances.find((each) => each.num === num)!;
  return { container, policy, supervisor, client, infoOf };
}

/** Resolves once so many children have introduced themselves. */
async function known(client: SupervisorClient, count: number): Promise<SupervisionState> {
  return await soon(async () => {
    const state = await client.call({ do: "status" });
    expect(state.instances.filter(({ isSupervised }) => isSupervised)).toHaveLength(count);
    return state;
  });
}

describe.each(PROCESSES)("a supervisor with instances that are $name", ({ options, kind }) => {
  test("knows them by num, with what they measure", async () => {
    const { client, infoOf } = await begin(options, 2);
    const { instances } = await soon(async () => {
      const state = await client.call({ do: "status" });
      expect(state.instances.map(({ utilization }) => utilization)).toEqual([
        undefined,
        expect.any(Number),
        expect.any(Number),
      ]);
      return state;
    });
    expect(instances.map(({ num, name, pid }) => [num, name, pid])).toEqual([
      [0, "supervisor", infoOf(0).pid],
      [1, "Turns", infoOf(1).pid],
      [2, "Turns", infoOf(2).pid],
    ]);
    expect(infoOf(1).kind).toBe(kind);
    const [, { memory, items, inFlight } = {}] = instances;
    expect(memory).toBeGreaterThan(2 ** 20);
    expect([items, inFlight]).toEqual([0, 0]);
  });

  test("replaces one, or all but itself, under their nums", async () => {
    const { client, infoOf, policy } = await begin(options, 2);
    const [before, other] = [infoOf(1), infoOf(2)];
    await expect(client.call({ do: "restart" }, { num: 1 })).resolves.toEqual({ restarted: 1 });
    expect(infoOf(1)).toMatchObject({ generation: 2, state: "ready" });
    expect(infoOf(1).pid).not.toBe(before.pid);
    expect(infoOf(2).pid).toBe(other.pid);
    await expect(client.call({ do: "restart" })).resolves.toEqual({ restarted: 2 });
    expect([infoOf(0), infoOf(1), infoOf(2)].map(({ generation }) => generation)).toEqual([
      1, 3, 2,
    ]);
    expect(policy.ends.filter(({ isFailure }) => isFailure)).toEqual([]);
    await known(client, 2);
  });

  test("shows the stacks of loops that are blocked, and says of them what else it cannot", async () => {
    const { client, infoOf } = await begin(options, 3);
    await client.call({ do: "signal", signal: "SIGUSR2" }, { num: 1 });
    await client.call({ do: "signal", signal: "SIGHUP" }, { num: 2 });
    // The signals come some time after they were sent.
    const mains = await soon(async () => {
      const answers = await client.call({ do: "thread_dump" });
      const found = answers.map(({ answer }) => answer!.threads[0]!);
      expect(found.map(({ state }) => state)).toEqual(["blocked", "blocked", "idle"]);
      return found;
    });
    expect(mains[0]!.stack).toMatch(/^ {4}at (process\.)?spin \(.*turns\.mjs:\d+:\d+\)/);
    expect(mains[1]!.stack).toMatch(
      /^ {4}at Atomics\.wait .*\n {4}at (process\.)?wait \(.*turns\.mjs/,
    );
    await expect(client.call({ do: "scheduler_dump" }, { num: 1 })).rejects.toThrow(
      /^Turns num 1 \(pid \d+\) has not begun to answer within \d+ ms: its event loop is blocked/,
    );
    // It can be replaced all the same.
    const { pid } = infoOf(1);
    const restarted = client.call({ do: "restart" }, { num: 1 });
    await expect(restarted).resolves.toEqual({ restarted: 1 });
    expect(infoOf(1).pid).not.toBe(pid);
  });

  test("that dies is started again, and all introduce themselves to it, with what they have counted", async () => {
    const { client, infoOf, supervisor } = await begin(options, 2);
    await client.call({ do: "signal", signal: "SIGTERM" }, { num: 1 });
    const before = [infoOf(1), infoOf(2)];
    process.kill(infoOf(0).pid!, "SIGKILL");
    await soon(() => expect(infoOf(0)).toMatchObject({ generation: 2, state: "ready" }));
    await expect(client.call({ do: "status" })).rejects.toThrow(SupervisorError);
    const next = await SupervisorClient.connect(supervisor.directory);
    ends.push(() => next.close());
    await known(next, 2);
    expect([infoOf(1), infoOf(2)].map(({ pid, generation }) => [pid, generation])).toEqual(
      before.map(({ pid, generation }) => [pid, generation]),
    );
    await soon(async () => {
      const text = await next.call({ do: "metrics" });
      expect(text).toMatch(/^signals_total\{name="Turns"\} 1$/m);
      expect(text).toMatch(/^own_number\{num="2",name="Turns"\} 2$/m);
      expect(text).toMatch(/^forkmap_restarts_total\{num="0",name="supervisor"\} 1$/m);
    });
  });

  test("lets its monitors see each child, and goes on with the others if one fails", async () => {
    const monitors = [new Throws("on purpose"), new Counts()];
    const { client, infoOf } = await begin(options, 2, { monitors });
    process.kill(infoOf(2).pid!, "SIGKILL");
    await soon(async () => {
      const state = await client.call({ do: "status" });
      const [failing, counting] = state.monitors;
      expect(failing).toMatchObject({
        name: "Throws",
        error: expect.stringContaining("on purpose"),
      });
      expect(failing!.runs).toBeGreaterThan(2);
      const { seen, last } = counting!.status as { seen: string[]; last: number[] };
      expect([seen.slice(0, 2).toSorted(), seen.slice(2)]).toEqual([
        ["+1.1", "+2.1"],
        ["-2.1", "+2.2"],
      ]);
      expect(last).toEqual([1, 2]);
    });
  });

  test("knows children of a pool, and has one that holds too much replaced after its item, under its num", async () => {
    const limit = 150 * 2 ** 20;
    const monitors = [new MemoryMonitor({ interval: 50, limit })];
    const { client, supervisor } = await begin(options, 1, { monitors });
    const { startMethod } = options as { startMethod?: "spawn" };
    const pool = new Parallel(new Keeps(), {
      pool: 2,
      supervised: supervisor.directory,
      ...(startMethod ? { startMethod } : {}),
    });
    ends.push(() => pool.close());
    const small = await pool.mapProcesses(
      Array.from({ length: 8 }, () => 0),
      { batch: 1 },
    );
    await known(client, 1 + new Set(small.map(({ num }) => num)).size);
    const [large] = await pool.mapProcesses([limit]);
    // Its item was finished, and the next ones run in another child of the same num.
    await soon(async () => {
      const all = await pool.mapProcesses(
        Array.from({ length: 8 }, () => 0),
        { batch: 1 },
      );
      const again = all.find(({ num }) => num === large!.num);
      expect(again?.generation).toBe(large!.generation + 1);
    });
    const { events } = await client.call({ do: "status" });
    expect(events).toContainEqual(
      expect.objectContaining({ what: "replaced", pool: "Keeps", num: large!.num }),
    );
  });
});

test("a program is watched, too, and cannot be asked", async () => {
  const { container } = contained();
  const supervisor = new Supervisor({ monitors: [new Counts()] });
  container.spawn(supervisor, { name: "supervisor" });
  const script = `echo '{"ready":true}' >&"$NOTIFY_PIPE"; exec sleep 600`;
  container.spawn(new CommandService({ argv: ["sh", "-c", script] }), { supervised: true });
  await container.waitUntilReady();
  const client = await SupervisorClient.connect(supervisor.directory);
  ends.push(() => client.close());
  await soon(async () => {
    const state = await client.call({ do: "status" });
    expect(state.monitors[0]!.status).toMatchObject({ last: [1] });
    expect(state.instances[1]!.memory).toBeGreaterThan(0);
  });
  await expect(client.call({ do: "status" }, { num: 1 })).rejects.toThrow(
    /num 1 .*has not introduced itself to the supervisor/,
  );
});

test("its own directory is gone once the container has stopped", async () => {
  const { container, supervisor } = await begin({}, 1);
  expect(existsSync(supervisor.directory)).toBe(true);
  await container.stop();
  expect(existsSync(supervisor.directory)).toBe(false);
  await expect(SupervisorClient.connect(supervisor.directory)).rejects.toThrow(
    `No supervisor runs in ${supervisor.directory}`,
  );
});

test("whoever asks for what there is not is told what there is", async () => {
  const { client } = await begin({}, 1);
  const call = client.call.bind(client) as (...call: unknown[]) => Promise<unknown>;
  await expect(call({ do: "constructor" })).rejects.toThrow(
    /^Expected `do` to be one of .*watch, got "constructor"/,
  );
  await expect(call({ do: "restart" }, { num: 7 })).rejects.toThrow(
    "Expected a supervised instance with num 7; there are 1",
  );
  await expect(call({ do: "cpu_profile", duration: "long" }, { num: 1 })).rejects.toThrow(
    /^Expected `duration` to be a number of ms/,
  );
  await expect(call({ do: "signal", signal: "SIGKILL" }, { num: 1 })).rejects.toThrow(
    /^Expected `signal` to be "SIGINT" or/,
  );
  await expect(call({ do: "status", file: "x" }, { num: 1 })).rejects.toThrow(
    "Expected the supervisor to have a directory for files",
  );
});

test("an instance that is stuck is killed when `graceful` has passed, also when it is being replaced already", async () => {
  const { client, infoOf } = await begin({}, 2);
  await client.call({ do: "signal", signal: "SIGUSR2" }, { num: 1 });
  await soon(async () => {
    const { threads } = await client.call({ do: "thread_dump" }, { num: 1 });
    expect(threads[0]!.state).toBe("blocked");
  });
  const began = performance.now();
  const patient = client.call({ do: "restart" }, { num: 1 });
  await soon(() => expect(infoOf(1).state).toBe("stopping"));
  const call = { do: "restart", graceful: false } as const;
  await expect(client.call(call, { num: 1 })).resolves.toEqual({ restarted: 1 });
  await expect(patient).resolves.toEqual({ restarted: 1 });
  expect(infoOf(1)).toMatchObject({ generation: 2, state: "ready" });
  // What it has without that.
  expect(performance.now() - began).toBeLessThan(10_000);
  await expect(client.call({ ...call, graceful: -1 }, { num: 1 })).rejects.toThrow(
    /^Expected `graceful` to be a boolean or/,
  );
});

test("those that wait for their turn are killed when `graceful` has passed, too", async () => {
  const { client, container } = await begin({}, 3);
  await client.call({ do: "signal", signal: "SIGUSR2" });
  await soon(async () => {
    const answers = await client.call({ do: "thread_dump" });
    for (const { answer } of answers) expect(answer!.threads[0]!.state).toBe("blocked");
  });
  const began = performance.now();
  const patient = client.call({ do: "restart" });
  await soon(() => expect(container.instances.map(({ state }) => state)).toContain("stopping"));
  await client.call({ do: "restart", graceful: false });
  await patient;
  expect(container.instances.map(({ generation }) => generation)).toEqual([1, 2, 2, 2]);
  expect(performance.now() - began).toBeLessThan(10_000);
});

test("one whose next child does not become ready can be restarted again", async () => {
  const { container } = contained();
  const supervisor = new Supervisor();
  container.spawn(supervisor, { name: "supervisor" });
  container.spawn(new Hangs(), { restart: "always", supervised: true });
  await container.waitUntilReady();
  const client = await SupervisorClient.connect(supervisor.directory);
  ends.push(() => client.close());
  const hangs = () => container.instances[1];
  const first = client.call({ do: "restart" }, { num: 1 });
  await soon(() => expect(hangs()).toMatchObject({ generation: 2, state: "starting" }));
  await client.call({ do: "restart", graceful: false }, { num: 1 });
  await first;
  expect(hangs()).toMatchObject({ generation: 3, state: "ready" });
});

test("it tells where its metrics are", async () => {
  const { client } = await begin({}, 1, { metrics: { port: 0 } });
  const { metrics } = await client.call({ do: "status" });
  const page = await fetch(metrics!);
  expect(await page.text()).toMatch(/^forkmap_instances\{/m);
});

test("whoever comes when it has ended is not left without one in silence", async () => {
  const { container } = contained();
  container.spawn(new Supervisor(), { name: "supervisor" });
  container.spawn(new Turns(), { supervised: true });
  await container.waitUntilReady();
  process.kill(container.instances.find(({ name }) => name === "supervisor")!.pid!, "SIGKILL");
  await soon(() => expect(container.size).toBe(1));
  const late = () => container.spawn(new Turns(), { supervised: true });
  expect(late).toThrow("needs a supervisor in this container");
});

test("whoever comes while it ends is not left without one in silence", async () => {
  const { container } = contained();
  const slow = new SlowSupervisor();
  slow.until = `${temporaryDirectory()}/until`;
  container.spawn(slow, { restart: "always" });
  // One that is told to stop while it starts does not run at all.
  await container.waitUntilReady();
  container.spawn(new Ends(), { supervised: true });
  await soon(() => expect(container.instances).toMatchObject([{ state: "stopping" }]));
  const late = () => container.spawn(new Turns(), { supervised: true });
  expect(late).toThrow("needs a supervisor in this container");
  writeFileSync(slow.until, "");
  await container.wait();
});

test("it ends with the last of its instances, as the program would without it", async () => {
  const { container } = contained();
  container.spawn(new Supervisor(), { restart: "always" });
  container.spawn(new Ends(), { supervised: true });
  await container.wait();
  expect(container.size).toBe(0);
  expect(() => container.spawn(new Turns(), { supervised: true })).toThrow(
    "needs a supervisor in this container",
  );
});

test("whoever finds it started again finds all instances known", async () => {
  const { infoOf, supervisor } = await begin({}, 2);
  for (let time = 0; time < 3; time += 1) {
    const { pid } = infoOf(0);
    process.kill(pid!, "SIGKILL");
    await soon(() => expect(infoOf(0).pid).not.toBe(pid));
    const next = await soon(() => SupervisorClient.connect(supervisor.directory));
    ends.push(() => next.close());
    expect((await next.call({ do: "status" })).instances).toHaveLength(3);
    await expect(next.call({ do: "scheduler_dump" }, { num: 2 })).resolves.toHaveProperty("timers");
  }
});

test("long texts of instances and monitors are cut, or told of, and hide no others", async () => {
  const monitors = [new Verbose(2 ** 20), new Counts()];
  const { client } = await begin({}, 1, { monitors });
  const { monitors: told } = await client.call({ do: "status" });
  expect(told[0]!.error).toMatch(/^failed in status\(\): RangeError: Expected a status of at most/);
  expect(told[1]!.error).toBeUndefined();
});

test("metrics are there while instances start, and count each gauge as it was set last", async () => {
  const { container, client } = await begin({}, 1);
  let asked = 0;
  const isStarting = container.waitUntilReady.bind(container);
  for (let time = 0; time < 5; time += 1) {
    container.run(new Turns(), { count: 3, supervised: true });
    let isDone = false;
    const done = isStarting().then(() => (isDone = true));
    while (!isDone) {
      expect(await client.call({ do: "metrics" })).toContain("forkmap_instances");
      asked += 1;
    }
    await done;
  }
  expect(asked).toBeGreaterThan(5);
  await soon(async () => {
    const numbers = (await client.call({ do: "metrics" })).match(/^own_number\{num="(\d+)".*$/gm)!;
    expect(numbers).toHaveLength(16);
    for (const line of numbers) {
      const [, num, value] = /num="(\d+)".* (\d+)$/.exec(line)!;
      expect(value).toBe(num);
    }
  });
});

describe("wrong use", () => {
  test.each([
    [{ monitors: [{}] }, /^Expected `monitors` to be an array of instances of Monitor/],
    [{ directory: "" }, /^Expected `directory` to be a path/],
    [{ metrics: {} }, /^Expected `metrics` to have either a `port` or a `path`/],
    [{ metrics: { port: 1, path: "x" } }, /^Expected `metrics` to have either/],
    [{ monitor: [] }, /^Unknown option `monitor` of Supervisor/],
  ])("%j", (options, message) => {
    expect(() => new Supervisor(options as SupervisorOptions)).toThrow(message);
  });

  test("of `supervised`", () => {
    const { container } = contained();
    expect(() => container.run(new Turns(), { supervised: true })).toThrow(
      /^`supervised: true` needs a supervisor in this container/,
    );
    const threads = contained({ startMethod: "thread" }).container;
    expect(() => threads.spawn(new Supervisor())).toThrow(
      'A supervisor needs instances that are processes, and `startMethod` is "thread"',
    );
    expect(() => new Parallel(new Keeps(), { supervised: "/somewhere" })).toThrow(
      "The option `supervised` needs `pool`",
    );
  });
});
