/** One supervisor in two containers, as in the old set and the new one of a blue-green restart. */
import { existsSync } from "node:fs";
import { Container } from "forkmap/container";
import { Supervisor, SupervisorClient } from "forkmap/supervisor";
import { expect, test } from "vitest";
import { Idle } from "../fixtures/supervised/idle.mjs";

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
