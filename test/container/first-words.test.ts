/** An instance that fails at once: what it threw is known, however soon it ended. */
import { Policy } from "forkmap/container";
import { expect, test } from "vitest";
import { Web } from "../fixtures/serving/web.mjs";
import { contained } from "../support/serving.js";

class Quiet extends Policy {
  override exited(): void {}
}

const KINDS = ["fork", "spawn", "thread"] as const;

test.each(KINDS)("in a program with a busy event loop: %s", async (startMethod) => {
  // Then the end and the reason arrive in the same turn.
  const busy = setInterval(() => {
    const until = performance.now() + 150;
    while (performance.now() < until);
  }, 1);
  try {
    for (let i = 0; i < 3; i += 1) await failAtOnce(startMethod);
  } finally {
    clearInterval(busy);
  }
});

test.each(KINDS)("again and again: %s", async (startMethod) => {
  for (let i = 0; i < 10; i += 1) await failAtOnce(startMethod);
});

async function failAtOnce(startMethod: (typeof KINDS)[number]): Promise<void> {
  const container = contained({ startMethod, policy: new Quiet() });
  container.run(new Web(), { count: 1 });
  await expect(container.waitUntilReady()).rejects.toMatchObject({
    code: "ERR_PARALLEL_INSTANCE",
    num: 0,
    exitCode: 1,
    pid: expect.any(Number),
    cause: expect.objectContaining({
      message: expect.stringContaining("has no sockets: name them in its option `sockets`"),
    }),
  });
  await container.stop();
}
