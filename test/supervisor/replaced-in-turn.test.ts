/** Instances that a monitor finds unhealthy at the same time: one is away at a time. */
import { Container, type InstanceInfo, Policy } from "forkmap/container";
import { Supervisor } from "forkmap/supervisor";
import { expect, test, vi } from "vitest";
import { Idle, Impatient } from "../fixtures/supervised/impatient.mjs";
import { SOON } from "../support/soon.js";

class Log extends Policy {
  readonly lines: string[] = [];

  override ready(_: Container, { num, generation }: InstanceInfo): void {
    if (generation > 1) this.lines.push(`ready ${num}`);
  }

  override exited(_: Container, { num }: InstanceInfo): void {
    this.lines.push(`exited ${num}`);
  }

  override replacing(): void {}
}

test("instances that a monitor replaces together are replaced one after the other", async () => {
  const policy = new Log();
  const container = new Container({ policy });
  container.spawn(new Supervisor({ monitors: [new Impatient()] }), { restart: "always" });
  container.run(new Idle(), { count: 3, restart: "always", supervised: true });
  await vi.waitUntil(() => policy.lines.length >= 6, SOON);
  const lines = [...policy.lines];
  await container.stop();
  const nums = lines.filter((_, at) => at % 2 === 0).map((line) => line.replace("exited ", ""));
  expect(nums.toSorted()).toEqual(["1", "2", "3"]);
  expect(lines).toEqual(nums.flatMap((num) => [`exited ${num}`, `ready ${num}`]));
});
