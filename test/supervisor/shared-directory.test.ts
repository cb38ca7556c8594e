/** One supervisor in two containers, as in the old set and the new one of a blue-green restart. */
import { existsSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Parallel } from "forkmap";
import { Container, type InstanceInfo } from "forkmap/container";
import { Supervisor, SupervisorClient } from "forkmap/supervisor";
import { expect, test, vi } from "vitest";
import { Idle } from "../fixtures/supervised/idle.mjs";
import { Turns } from "../fixtures/supervised/turns.mjs";
import { Work } from "../fixtures/supervised/work.mjs";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

/** More than are told apart at a time. */
const SETS = 12;
const KILLS = 6;

test("its directory is there until the last of them has stopped", async () => {
  const supervisor = new Supervisor();
  const [old, fresh] = [new Container(), new Container()];
  for (const container of [old, fresh]) {
    container.spawn(supervisor, { restart: "always" });
    container.run(new Idle(), { count: 1, supervised: true });
    await container.waitUntilReady();
  }
  await old.stop();
  const client = await SupervisorClient.connect(supervisor.directory);
  expect(await client.call({ do: "status" }, { num: 1 })).toHaveProperty("pid");
  await client.close();
  await fresh.stop();
  expect(existsSync(supervisor.directory)).toBe(false);
});

test("what old sets have counted stays, however many there were, and if nobody has looked", async () => {
  const supervisor = new Supervisor();
  const begin = async () => {
    const container = new Container();
    container.spawn(supervisor, { restart: "always" });
    container.run(new Turns(), { count: 1, name: "my-turns", supervised: true });
    await container.waitUntilReady();
    const client = await SupervisorClient.connect(supervisor.directory);
    await client.call({ do: "signal", signal: "SIGTERM" }, { num: 1 });
    await client.close();
    return container;
  };
  const counted = () =>
    countedIn(supervisor.directory, /^signals_total\{name="my-turns"\} (\d+)$/m);
  let old = await begin();
  await vi.waitFor(async () => expect(await counted()).toBe(1), SOON);
  for (let sets = 2; sets <= SETS; sets += 1) {
    const fresh = await begin();
    await old.stop();
    old = fresh;
    // Of some sets, only the next supervisor reads the files.
    if (sets % 3 !== 0) await vi.waitFor(async () => expect(await counted()).toBe(sets), SOON);
  }
  for (let time = 0; time < 3; time += 1) expect(await counted()).toBe(SETS);
  expect(runsIn(supervisor.directory)).toBe(1);
  await old.stop();
});

test("what pools have counted that come and go stays, and none of their files", async () => {
  const directory = `${temporaryDirectory()}/supervisor`;
  const container = new Container();
  container.spawn(new Supervisor({ directory }), { name: "supervisor", restart: "always" });
  container.run(new Idle(), { count: 1, supervised: true });
  await container.waitUntilReady();
  const counted = () =>
    countedIn(directory, /^work_items_total\{name="Work",pool="Work"\} (\d+)$/m);
  const items = Array.from({ length: 5 }, (_, n) => ({ n }));
  for (let pools = 1; pools <= SETS; pools += 1) {
    await using parallel = new Parallel<object, number>(new Work(), {
      pool: 2,
      supervised: directory,
    });
    await parallel.mapProcesses(items);
    if (pools % 3 !== 0) expect(await counted()).toBe(pools * items.length);
  }
  for (let time = 0; time < 3; time += 1) expect(await counted()).toBe(SETS * items.length);
  expect(runsIn(directory)).toBe(1);
  const { pid } = container.instances[0]!;
  process.kill(pid!, "SIGKILL");
  const next = () => container.instances[0]!;
  await vi.waitUntil(() => next().pid !== pid && next().state === "ready", SOON);
  expect(await counted()).toBe(SETS * items.length);
  await container.stop();
});

test("counters are exact while supervisors are killed and everybody asks", async () => {
  const directory = `${temporaryDirectory()}/supervisor`;
  const container = new Container();
  const keep = { restart: "always", intensity: { restarts: 100, within: 1000 } } as const;
  container.spawn(new Supervisor({ directory }), { name: "supervisor", ...keep });
  await container.waitUntilReady();
  await using parallel = new Parallel<object, number>(new Work(), {
    pool: 4,
    supervised: directory,
  });
  const counted = () =>
    countedIn(directory, /^work_items_total\{name="Work",pool="Work"\} (\d+)$/m);
  let [begun, kills] = [0, 0];
  const items = function* () {
    while (kills < KILLS) yield { n: (begun += 1), wait: 2 };
  };
  const done = parallel.eachProcess(items());
  await vi.waitFor(async () => expect(await counted()).toBeGreaterThan(0), SOON);
  const ask = async () => {
    while (kills < KILLS) {
      // While there is none, it fails.
      const seen = await counted().catch(() => 0);
      expect(seen).toBeLessThanOrEqual(begun);
      await sleep(5);
    }
  };
  const kill = async () => {
    for (; kills < KILLS; kills += 1) {
      const [{ pid, generation }] = container.instances as [InstanceInfo];
      process.kill(pid!, "SIGKILL");
      await vi.waitUntil(() => {
        const [now] = container.instances;
        return now!.generation > generation && now!.state === "ready";
      }, SOON);
    }
  };
  await Promise.all([done, ask(), ask(), kill()]);
  for (let time = 0; time < 3; time += 1) expect(await counted()).toBe(begun);
  await parallel.close();
  await container.stop();
});

test("one that another has taken over takes its place again when that has ended", async () => {
  const directory = `${temporaryDirectory()}/supervisor`;
  const [first, second] = [new Container(), new Container()];
  for (const container of [first, second]) {
    container.spawn(new Supervisor({ directory }), { restart: "always" });
    container.run(new Idle(), { count: 1, supervised: true });
    await container.waitUntilReady();
  }
  const pids = async () => {
    const client = await SupervisorClient.connect(directory);
    const { instances } = await client.call({ do: "status" });
    await client.close();
    return instances.filter(({ isSupervised }) => isSupervised).map(({ pid }) => pid);
  };
  const pidIn = ({ instances }: Container) => instances[1]!.pid;
  await vi.waitFor(async () => expect(await pids()).toContain(pidIn(second)), SOON);
  await second.stop();
  await vi.waitFor(async () => expect(await pids()).toEqual([pidIn(first)]), SOON);
  await first.stop();
});

async function countedIn(directory: string, pattern: RegExp): Promise<number> {
  const client = await SupervisorClient.connect(directory);
  const text = await client.call({ do: "metrics" });
  await client.close();
  return Number(pattern.exec(text)?.[1]);
}

/** Of how many runs there are files of metrics. */
function runsIn(directory: string): number {
  const runs = readdirSync(directory).map((file) => /^(?:metrics|over)-(\d+-\d+)/.exec(file)?.[1]);
  return new Set(runs.filter((run) => run !== undefined)).size;
}
