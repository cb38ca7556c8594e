/** One supervisor in two containers, as in the old set and the new one of a blue-green restart. */
import { existsSync } from "node:fs";
import { Container } from "forkmap/container";
import { Supervisor, SupervisorClient } from "forkmap/supervisor";
import { expect, test, vi } from "vitest";
import { Idle } from "../fixtures/supervised/idle.mjs";
import { Turns } from "../fixtures/supervised/turns.mjs";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

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

test("what the old set has counted stays, also if nobody has looked", async () => {
  const supervisor = new Supervisor();
  const [old, fresh] = [new Container(), new Container()];
  const begin = async (container: Container) => {
    container.spawn(supervisor, { restart: "always" });
    container.run(new Turns(), { count: 1, name: "my-turns", supervised: true });
    await container.waitUntilReady();
    const client = await SupervisorClient.connect(supervisor.directory);
    await client.call({ do: "signal", signal: "SIGTERM" }, { num: 1 });
    await client.close();
  };
  const counted = async () => {
    const client = await SupervisorClient.connect(supervisor.directory);
    const text = await client.call({ do: "metrics" });
    await client.close();
    return Number(/^signals_total\{name="my-turns"\} (\d+)$/m.exec(text)?.[1]);
  };
  await begin(old);
  await vi.waitFor(async () => expect(await counted()).toBe(1), SOON);
  await begin(fresh);
  await old.stop();
  await vi.waitFor(async () => expect(await counted()).toBe(2), SOON);
  await fresh.stop();
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
