/**
 * The supervisor of a program under load is killed again and again: nobody but those who ask it notices. FORKMAP_SUPERVISOR_KILLS says how often,
 * FORKMAP_SUPERVISOR_SECONDS in what time (50 times in 120 s before a release), which also prints the figures.
 *
 * Phases with and without kills take turns, under the same load. Noise is what the phases without kills differ by: the median p99 of the others may be at most
 * twice that of the slowest of them.
 */
import { once } from "node:events";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Result } from "autocannon";
import { SupervisorClient, type SupervisionState } from "forkmap/supervisor";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Footprint, footprintOf } from "../support/footprint.js";
import { descendants } from "../support/leftovers.js";
import { fixture, outputOf, startScript } from "../support/run-script.js";
import { SOON } from "../support/soon.js";
import { identityOf, knownIn, statusOnce, supervisorIn } from "../support/supervisor-status.js";
import { temporaryDirectory } from "../support/temporary.js";
import { failuresOf, startLoad } from "../support/web-load.js";

const KILLS = Number(process.env["FORKMAP_SUPERVISOR_KILLS"] ?? 8);
const SECONDS = Number(process.env["FORKMAP_SUPERVISOR_SECONDS"] ?? 12);
const isLong = process.env["FORKMAP_SUPERVISOR_KILLS"] !== undefined;
/** Of each kind. */
const PHASES = Math.min(KILLS, isLong ? 10 : 4);
const PHASE_MS = (1000 * SECONDS) / PHASES;
/** Phases take turns, and a slow machine needs a while for each restart. */
const TIMEOUT_MS = 4000 * SECONDS + 120_000;
const INSTANCES = 4;
const POOL = 2;
const CONNECTIONS = 16;
/** A second: much less than instances can do, so that the processors are not what is measured. */
const RATE = 200;
const MIB = 2 ** 20;
/** How much more an instance may grow than one that no supervisor knows: garbage is collected when it suits each. */
const GROWTH_BYTES = 3 * MIB;

interface Phase {
  readonly p50: number;
  readonly p99: number;
  readonly requests: number;
  readonly failures: number;
}

describe.each(["fork", "spawn"])("the supervisor of instances by %s is killed", (startMethod) => {
  test(`${KILLS} times in ${SECONDS} s under load`, { timeout: TIMEOUT_MS }, async () => {
    const root = temporaryDirectory();
    const directory = path.join(root, "supervisor");
    mkdirSync(`${root}/tmp`);
    const program = startScript(fixture("supervised/killed-run.mjs"), {
      args: [startMethod, directory],
      env: { TMPDIR: `${root}/tmp` },
    });
    onTestFinished(() => void program.kill("SIGKILL"));
    const output = outputOf(program);
    const [line] = (await once(program.stdout!, "data")) as [Buffer];
    const { port, alone } = JSON.parse(/^ready (.*)$/m.exec(String(line))![1]!) as {
      port: number;
      alone: number;
    };
    const load = { url: `http://127.0.0.1:${port}`, connections: CONNECTIONS, rate: RATE };
    const isWhole = (state: SupervisionState) => knownIn(state).length === INSTANCES + POOL;

    // Code is compiled and heaps have grown before anything is measured.
    await phase(load, async () => await sleep(PHASE_MS));
    let state = await statusOnce(directory, isWhole);
    const identities = knownIn(state).map(identityOf);
    const pids = knownIn(state).map(({ pid }) => pid!);
    const webs = pids.slice(0, INSTANCES);
    expect(identities[0]).toContain("web num 1, generation 1");
    const before = new Map([...pids, alone].map((pid) => [pid, footprintOf(pid)]));
    const fixed = await steady(pids);

    const quiet: Phase[] = [];
    const killed: Phase[] = [];
    const registering: number[] = [];
    let kills = 0;
    for (let i = 0; i < PHASES; i += 1) {
      quiet.push(await phase(load, async () => await sleep(PHASE_MS)));
      killed.push(
        await phase(load, async () => {
          const began = performance.now();
          const due = Math.round(((i + 1) * KILLS) / PHASES);
          for (const first = kills; kills < due;) {
            const { pid } = supervisorIn(state);
            process.kill(pid!, "SIGKILL");
            const killedAt = performance.now();
            kills += 1;
            state = await statusOnce(
              directory,
              (now) => isWhole(now) && supervisorIn(now).pid !== pid,
            );
            registering.push(performance.now() - killedAt);
            expect(knownIn(state).map(identityOf)).toEqual(identities);
            const end = began + ((kills - first) * PHASE_MS) / (due - first);
            await sleep(Math.max(0, end - performance.now()));
          }
        }),
      );
    }

    expect(kills).toBe(KILLS);
    expect(supervisorIn(state).generation).toBe(1 + KILLS);
    for (const each of [...quiet, ...killed]) {
      expect(each.failures).toBe(0);
      expect(each.requests).toBeGreaterThan((RATE * PHASE_MS) / 2000);
    }
    const p99 = median(killed.map((each) => each.p99));
    const noise = Math.max(...quiet.map((each) => each.p99));
    expect(p99).toBeLessThanOrEqual(2 * noise);

    expect(await steady(pids)).toEqual(fixed);
    const after = new Map([...pids, alone].map((pid) => [pid, footprintOf(pid)]));
    const growth = (pid: number) => after.get(pid)!.dirty - before.get(pid)!.dirty;
    expect(median(webs.map(growth)) - growth(alone)).toBeLessThan(GROWTH_BYTES);
    await expectWhatBelongs(directory, pids.length);
    // It does everything that the first one did.
    await expectAnswers(directory);

    program.kill("SIGTERM");
    const { code, stdout, stderr } = await output;
    expect(code, stderr).toBe(0);
    const done = JSON.parse(/^done (.*)$/m.exec(stdout)![1]!) as {
      calls: number;
      wrong: number;
      said: string[];
      ended: Record<string, number>;
    };
    expect(done).toMatchObject({ wrong: 0, said: [], ended: { supervisor: KILLS } });
    expect(Object.keys(done.ended)).toEqual(["supervisor"]);
    expect(done.calls).toBeGreaterThan(2 * PHASES);
    expect(readdirSync(`${root}/tmp`)).toEqual([]);
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
    if (isLong) {
      print(startMethod, { quiet, killed, registering, calls: done.calls });
      print("memory", { supervised: webs.map(growth), alone: growth(alone) });
    }
  });
});

test("what supervisors leave that are killed while they start is removed", async () => {
  const directory = path.join(temporaryDirectory(), "supervisor");
  mkdirSync(directory, { mode: 0o700 });
  const { pid: gone } = await ended();
  const left = ["socket", "token", "totals"].map((name) => `${name}-${gone}`);
  const others = ["token-mine", "notes"];
  for (const name of [...left, `metrics-${gone}-1-1-web`, ...others])
    writeFileSync(`${directory}/${name}`, "");
  const program = startScript(fixture("supervised/killed-run.mjs"), { args: ["fork", directory] });
  const output = outputOf(program);
  await once(program.stdout!, "data");
  const names = readdirSync(directory);
  expect(names.filter((name) => name.includes(String(gone)))).toEqual([]);
  expect(names).toEqual(expect.arrayContaining([...others, "socket", "token"]));
  program.kill("SIGTERM");
  expect((await output).code).toBe(0);
});

async function ended() {
  const program = startScript("--version");
  await once(program, "exit");
  return { pid: program.pid! };
}

async function phase(
  options: Parameters<typeof startLoad>[0],
  during: () => Promise<void>,
): Promise<Phase> {
  const load = startLoad(options);
  let result: Result;
  try {
    await during();
  } finally {
    result = await load.stop();
  }
  expect(load.errors).toEqual({});
  const { latency, requests } = result;
  return {
    p50: latency.p50,
    p99: latency.p99,
    requests: requests.total,
    failures: failuresOf(result),
  };
}

/** Descriptors and threads, once all connections of the last load are closed and threads that wait for nothing have ended. */
async function steady(pids: readonly number[]): Promise<object[]> {
  const look = () =>
    pids.map((pid) => {
      const { descriptors, threads }: Footprint = footprintOf(pid);
      return { descriptors, threads };
    });
  let last = "";
  let same = 0;
  await vi.waitUntil(
    () => {
      const now = JSON.stringify(look());
      same = now === last ? same + 1 : 0;
      last = now;
      return same === 15;
    },
    { ...SOON, interval: 100 },
  );
  return look();
}

async function expectWhatBelongs(directory: string, children: number): Promise<void> {
  // A draft may be there for a moment.
  await vi.waitFor(() => {
    const names = readdirSync(directory);
    const metrics = names.filter((name) => /^metrics-\d+-\d+-\d+-\w+$/.test(name));
    const others = names.filter((name) => !metrics.includes(name));
    expect(metrics.length).toBe(children);
    expect(others.toSorted()).toEqual(["socket", "token", "totals"]);
  }, SOON);
}

async function expectAnswers(directory: string): Promise<void> {
  await using client = await SupervisorClient.connect(directory);
  const dumps = await client.call({ do: "thread_dump" });
  expect(dumps).toHaveLength(INSTANCES + POOL);
  for (const { error, answer } of dumps)
    expect({ error, answer: typeof answer }).toEqual({
      error: undefined,
      answer: "object",
    });
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[sorted.length >> 1]!;
}

function print(title: string, figures: object): void {
  console.log(`${title} ${JSON.stringify(figures, (_, value) => rounded(value))}`);
}

function rounded(value: unknown): unknown {
  return typeof value === "number" ? Math.round(10 * value) / 10 : value;
}
