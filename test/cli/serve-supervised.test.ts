/** `forkmap serve --supervised` with a real server and a real supervisor: it knows the children, restarts them, and counts their items. */
import type { ChildProcess } from "node:child_process";
import { Queue, QueueEvents } from "bullmq";
import { Container } from "forkmap/container";
import { type SupervisionState, Supervisor, SupervisorClient } from "forkmap/supervisor";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { parse } from "../support/metrics.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { fixture, outputOf, type Ran } from "../support/run-script.js";
import { SOON } from "../support/soon.js";
import { knownIn, statusOnce } from "../support/supervisor-status.js";
import { temporaryDirectory } from "../support/temporary.js";
import { startCli } from "./run-cli.js";

const NAME = "upper@1";
/** Each has a listener, and Node warns of more. */
const JOBS = 10;

interface Upper {
  readonly text: string;
  readonly pid: number;
}

describeWithRedis("forkmap serve --supervised", () => {
  let redis: RedisServer;
  let container: Container;
  let directory: string;
  let served: ChildProcess;
  let ran: Promise<Ran>;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  beforeEach(async () => {
    directory = `${temporaryDirectory()}/supervisor`;
    container = new Container();
    container.spawn(new Supervisor({ directory }), { name: "supervisor", restart: "always" });
    await container.waitUntilReady();
    const args = ["serve", fixture("serve/workers.mjs"), "--processes", "2"];
    served = startCli([...args, "--supervised", directory], { FORKMAP_CONNECTION: redis.url });
    ran = outputOf(served);
  });
  afterEach(async () => {
    served.kill("SIGKILL");
    await ran;
    await container.stop();
  });

  async function run(count: number): Promise<Upper[]> {
    const connection = { url: redis.url, maxRetriesPerRequest: null };
    const events = new QueueEvents(NAME, { connection, lastEventId: "0-0" });
    const queue = new Queue(NAME, { connection });
    const jobs = await queue.addBulk(
      Array.from({ length: count }, () => ({ name: NAME, data: { text: "a" } })),
    );
    const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events)));
    await Promise.all([queue.close(), events.close()]);
    return results as Upper[];
  }

  it("has its children known, restarted, and their items counted", async () => {
    const pids = new Set((await run(JOBS)).map(({ pid }) => pid));
    const before = await statusOnce(directory, (state) => pidsIn(state).size >= pids.size);
    for (const pid of pids) expect(pidsIn(before)).toContain(pid);
    const counted = async () => {
      const client = await SupervisorClient.connect(directory);
      const { series } = parse(await client.call({ do: "metrics" }));
      await client.close();
      const items = Object.keys(series).filter((key) => /^forkmap_items_total.*"Upper"/.test(key));
      return items.reduce((sum, key) => sum + series[key]!, 0);
    };
    await vi.waitFor(async () => expect(await counted()).toBe(JOBS), SOON);

    const client = await SupervisorClient.connect(directory);
    await client.call({ do: "restart" });
    await client.close();
    for (const { pid } of await run(JOBS)) expect(pids).not.toContain(pid);
    await vi.waitFor(async () => expect(await counted()).toBe(2 * JOBS), SOON);

    served.kill("SIGTERM");
    const { code, stderr } = await ran;
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`stopped: ${2 * JOBS} jobs succeeded, 0 failed`);
    await statusOnce(directory, (state) => pidsIn(state).size === 0);
  });

  it("serves on while the supervisor is killed, and is known to the next", async () => {
    await run(JOBS);
    const { pid } = container.instances[0]!;
    process.kill(pid!, "SIGKILL");
    const pids = new Set((await run(JOBS)).map((each) => each.pid));
    const state = await statusOnce(directory, (now) =>
      [...pids].every((each) => pidsIn(now).has(each)),
    );
    expect(pidsIn(state)).not.toContain(pid);
    served.kill("SIGTERM");
    expect(await ran).toMatchObject({ code: 0, signal: null });
  });
});

function pidsIn(state: SupervisionState): Set<number | undefined> {
  return new Set(knownIn(state).map(({ pid }) => pid));
}
