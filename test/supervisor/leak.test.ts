/**
 * Children that leak are replaced under their num, and nothing is lost by it; those that only share what is large are left alone. Time is told by how often
 * the monitor has run.
 */
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { Parallel } from "forkmap";
import type { Container } from "forkmap/container";
import {
  MemoryMonitor,
  type MonitorStatus,
  type SupervisionEvent,
  type SupervisionState,
  Supervisor,
  SupervisorClient,
} from "forkmap/supervisor";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Web } from "../fixtures/supervised/web.mjs";
import { Work } from "../fixtures/supervised/work.mjs";
import { PROCESSES, Recorder } from "../support/contained.js";
import { ANY, addressOf, ask, contained } from "../support/serving.js";
import { SOON } from "../support/soon.js";
import { identityOf, knownIn, statusOnce } from "../support/supervisor-status.js";
import { temporaryDirectory } from "../support/temporary.js";
import { failuresOf, startLoad } from "../support/web-load.js";

const MIB = 2 ** 20;
const INTERVAL_MS = 400;
const SHARED_MIB = 300;
const SHARING_LIMIT_MIB = 200;
/** More than an instance has, and less than one that leaks. */
const LIMIT_MIB = 120;
const LEAK_MIB = 150;
/** Spawned instances take long to fill so much memory of their own. */
const TIMEOUT_MS = 180_000;

interface Program {
  readonly container: Container;
  readonly policy: Recorder;
  readonly directory: string;
  readonly url: string;
}

interface ProgramOptions {
  readonly startMethod: "fork" | "spawn";
  readonly count: number;
  readonly limit: number;
  readonly interval?: number;
  readonly fields?: object;
}

describe.each(PROCESSES.map(({ kind }) => kind as "fork" | "spawn"))(
  "children by %s",
  (startMethod) => {
    test("a leaking instance is replaced within two intervals, and no request is lost", async () => {
      const { container, policy, directory, url } = await start({
        startMethod,
        count: 3,
        limit: LIMIT_MIB,
      });
      const before = await whenOld(directory, 3);
      const load = startLoad({ url, connections: 8, rate: 100 });
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      onTestFinished(() => agent.destroy());
      const leaking = await leak(container, agent);
      const runs = monitorIn(await statusOnce(directory, () => true)).runs;
      const { state, event } = await replaced(directory);
      expect(monitorIn(state).runs - runs).toBeLessThanOrEqual(2);
      expect(event.num).toBe(leaking.num);
      expect(event.text).toMatch(
        /^it has \d+(\.\d)? MiB of memory \(PSS\), more than its limit of 120 MiB$/,
      );
      const after = await statusOnce(directory, (now) => {
        const known = knownIn(now);
        return known.length === 3 && known.every(({ pid }) => pid !== leaking.pid);
      });
      // The connection that the leaking one had lives until the next answer says that it is closed.
      expect((await ask(addressOf(container), "/", agent)).status).toBe(200);
      const result = await load.stop();
      expect(load.errors).toEqual({});
      expect(failuresOf(result)).toBe(0);
      expect(result.requests.total).toBeGreaterThan(0);
      for (const [i, { num, generation }] of knownIn(after).entries()) {
        const isReplaced = num === leaking.num;
        expect({ num, generation }).toEqual({
          num: before[i]!.num,
          generation: isReplaced ? 2 : 1,
        });
        if (!isReplaced) expect(identityOf(knownIn(after)[i]!)).toBe(identityOf(before[i]!));
      }
      expect(policy.ends).toMatchObject([{ isFailure: false }]);
    });

    test("a leaking child of a pool is replaced after its item, and no item is lost or run twice", async () => {
      const { directory } = await start({ startMethod, count: 1, limit: LIMIT_MIB });
      const files = temporaryDirectory();
      const file = path.join(files, "done");
      const until = path.join(files, "found");
      const leaksAt = 80;
      const itemOf = (n: number) =>
        // It runs until the monitor has found it, and the word has come to the child.
        n === leaksAt ? { n, leak: LEAK_MIB, until, wait: INTERVAL_MS } : { n, wait: 15 };
      await using parallel = new Parallel<object, number>(new Work({ file }), {
        startMethod,
        pool: 2,
        batch: 1,
        supervised: directory,
      });
      // Children are old enough to be replaced.
      await parallel.mapProcesses([itemOf(0), itemOf(1)]);
      await statusOnce(directory, (now) => {
        const pool = knownIn(now).filter(({ pool: name }) => name === "Work");
        return pool.length === 2 && pool.every(({ age }) => age > 2 * INTERVAL_MS);
      });
      const told = replaced(directory).then((found) => {
        writeFileSync(until, "");
        return found;
      });
      let count = 2;
      // However long the next child takes to start, it gets some.
      const rest = function* () {
        const end = performance.now() + SOON.timeout;
        const isFollowed = () => doneIn(file).some(({ generation }) => generation > 1);
        while (count <= 3 * leaksAt || (!isFollowed() && performance.now() < end))
          yield itemOf(count++);
      };
      const results = await parallel.mapProcesses(rest());
      const all = Array.from({ length: count }, (_, n) => n);
      expect(results).toEqual(all.slice(2).map((n) => 2 * n));
      const { event } = await told;
      const done = doneIn(file);
      expect(done.map(({ n }) => n).toSorted((a, b) => a - b)).toEqual(all);
      const leaking = done.find(({ n }) => n === leaksAt)!;
      expect(event).toMatchObject({ pool: "Work", num: leaking.num });
      const ofNum = done.filter(({ num }) => num === leaking.num);
      const last = ofNum.findLastIndex(({ pid }) => pid === leaking.pid);
      // It was its last one, and the next generation has all that follow.
      expect(ofNum[last]!.n).toBe(leaksAt);
      expect(ofNum.length).toBeGreaterThan(last + 1);
      for (const each of ofNum.slice(last + 1))
        expect(each.generation).toBe(leaking.generation + 1);
      const others = done.filter(({ num }) => num !== leaking.num);
      expect(new Set(others.map(({ generation }) => generation))).toEqual(new Set([1]));
    });

    test("an instance that leaks while its event loop is blocked is replaced", async () => {
      const { container, policy, directory } = await start({
        startMethod,
        count: 2,
        limit: LIMIT_MIB,
      });
      await whenOld(directory, 2);
      const lost = ask(addressOf(container), `/block/${LEAK_MIB}`).catch((error: Error) => error);
      const { event } = await replaced(directory);
      // It does not do what it is asked for, and is killed in the end.
      await vi.waitFor(() => expect(policy.ends).toHaveLength(1), SOON);
      expect(await lost).toBeInstanceOf(Error);
      await statusOnce(directory, (now) => {
        const next = now.instances.find(({ num }) => num === event.num)!;
        return next.generation === 2 && next.isSupervised && next.state === "ready";
      });
      expect((await ask(addressOf(container))).status).toBe(200);
    });
  },
);

test(
  `eight forked instances that share ${SHARED_MIB} MiB are left alone`,
  { timeout: TIMEOUT_MS },
  async () => {
    const count = 8;
    const { directory, policy } = await start(sharing("fork", count));
    const before = await whenOld(directory, count);
    const { runs } = monitorIn(await statusOnce(directory, () => true));
    const after = await statusOnce(directory, (now) => monitorIn(now).runs >= runs + 5);
    expect(monitorIn(after).status).toMatchObject({ replaced: 0 });
    expect(knownIn(after).map(identityOf)).toEqual(before.map(identityOf));
    // All of it is there, counted once.
    const { total } = monitorIn(after).status as { total: number };
    expect(total).toBeGreaterThan(0.8 * SHARED_MIB * MIB);
    expect(policy.ends).toEqual([]);
  },
);

test(`spawned ones, which share nothing, are replaced`, { timeout: TIMEOUT_MS }, async () => {
  // Each is judged by itself: two are enough.
  const { directory } = await start(sharing("spawn", 2));
  const after = await statusOnce(directory, ({ instances }) =>
    instances.filter(({ name }) => name === "web").every(({ generation }) => generation > 1),
  );
  expect((monitorIn(after).status as { replaced: number }).replaced).toBeGreaterThanOrEqual(2);
});

function sharing(startMethod: "fork" | "spawn", count: number): ProgramOptions {
  return { startMethod, count, limit: SHARING_LIMIT_MIB, fields: { preloaded: SHARED_MIB } };
}

test("a limit that no instance can keep does not replace instances faster and faster, and is warned of", async () => {
  const written = vi.spyOn(process.stderr, "write");
  onTestFinished(() => written.mockRestore());
  const interval = 150;
  const began = performance.now();
  const { directory, url } = await start({ startMethod: "fork", count: 1, limit: 1, interval });
  const load = startLoad({ url, connections: 4, rate: 50 });
  const state = await statusOnce(directory, (now) => monitorIn(now).runs >= 40);
  const passed = performance.now() - began;
  const result = await load.stop();
  const { replaced: times } = monitorIn(state).status as { replaced: number };
  expect(times).toBeGreaterThanOrEqual(3);
  // Each was given twice the time of the one before, 1, 2, 4 and so on of the intervals that have passed, but for the first: it was there before the monitor.
  expect(2 ** (times - 1) - 1).toBeLessThanOrEqual(passed / interval);
  expect(failuresOf(result)).toBe(0);
  const warnings = written.mock.calls.map(([text]) => String(text)).join("");
  expect(warnings).toMatch(
    /FORKMAP_MONITOR.*web num 1 is replaced when it is only .* raise the limit/,
  );
});

async function start(options: ProgramOptions): Promise<Program> {
  const { startMethod, count, limit, interval = INTERVAL_MS, fields } = options;
  const directory = path.join(temporaryDirectory(), "supervisor");
  const policy = new Recorder();
  const container = contained({ startMethod, policy, sockets: { http: ANY }, output: "tag" });
  const monitors = [new MemoryMonitor({ limit: limit * MIB, interval })];
  container.spawn(new Supervisor({ directory, monitors }), { name: "supervisor" });
  const web = { count, name: "web", restart: "always", supervised: true } as const;
  container.run(new Web(fields), web);
  await container.waitUntilReady();
  const { host, port } = addressOf(container) as { host: string; port: number };
  return { container, policy, directory, url: `http://${host}:${port}` };
}

/** Waits until all instances may be replaced, however young they are taken for. */
async function whenOld(directory: string, count: number) {
  const state = await statusOnce(directory, (now) => {
    const known = knownIn(now);
    return known.length === count && known.every(({ age }) => age > 2 * INTERVAL_MS);
  });
  return knownIn(state);
}

async function leak(container: Container, agent: http.Agent) {
  const { status, body } = await ask(addressOf(container), `/leak/${LEAK_MIB}`, agent);
  expect(status).toBe(200);
  return JSON.parse(body) as { num: number; pid: number };
}

/** What `Work` wrote down. */
function doneIn(file: string) {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return lines.map((line) => {
    const [n, num, generation, pid] = line.split(" ").map(Number);
    return { n: n!, num: num!, generation: generation!, pid: pid! };
  });
}

function monitorIn({ monitors }: SupervisionState): MonitorStatus {
  return monitors[0]!;
}

/** The first replacement that is told, and what the supervisor knew then. */
async function replaced(
  directory: string,
): Promise<{ state: SupervisionState; event: SupervisionEvent }> {
  await using client = await SupervisorClient.connect(directory);
  for await (const state of client.watch(AbortSignal.timeout(SOON.timeout))) {
    const event = state.events.find(({ what }) => what === "replaced");
    if (event) return { state, event };
  }
  throw new Error("nothing was replaced");
}
