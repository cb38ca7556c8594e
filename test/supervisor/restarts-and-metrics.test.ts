/**
 * Many restarts, in every way that there is: as Prometheus sees it, no series appears or goes, no counter falls, and what the program has counted
 * itself is all there, also of children that were killed in the middle. FORKMAP_RESTARTS sets how many (100 before a release).
 */
import { existsSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { once } from "node:events";
import { Parallel } from "forkmap";
import type { Container } from "forkmap/container";
import { Supervisor, SupervisorClient } from "forkmap/supervisor";
import { describe, expect, test, vi } from "vitest";
import { Web } from "../fixtures/supervised/web.mjs";
import { Work } from "../fixtures/supervised/work.mjs";
import { PROCESSES, Recorder } from "../support/contained.js";
import { parse } from "../support/metrics.js";
import { ANY, addressOf, ask, contained } from "../support/serving.js";
import { SOON } from "../support/soon.js";
import { knownIn, statusOnce, supervisorIn } from "../support/supervisor-status.js";
import { temporaryDirectory } from "../support/temporary.js";

const RESTARTS = Number(process.env["FORKMAP_RESTARTS"] ?? 30);
const TIMEOUT_MS = 60_000 + 3000 * RESTARTS;
const COUNT = 4;
const POOL = 2;
const WAYS = ["restart", "exit", "crash", "killed", "killed while counting", "supervisor"] as const;

type Scrape = ReturnType<typeof parse>;

describe.each(PROCESSES.map(({ kind }) => kind as "fork" | "spawn"))(
  "children by %s",
  (startMethod) => {
    test(`${RESTARTS} restarts leave metrics whole`, { timeout: TIMEOUT_MS }, async () => {
      const program = await start(startMethod);
      const { container, directory } = program;
      await using pool = new Parallel<object, number>(new Work(), {
        startMethod,
        pool: POOL,
        batch: 1,
        supervised: directory,
      });
      let items = 0;
      const work = async (n: number) => {
        await pool.mapProcesses(Array.from({ length: n }, (_, i) => ({ n: i, wait: 10 })));
        items += n;
      };
      let counted = 0;
      const byNum = new Map<number, number>();
      const add = async (count: number) => {
        const { body } = await ask(addressOf(container), `/add/${count}`);
        const { num } = JSON.parse(body) as { num: number };
        counted += count;
        byNum.set(num, (byNum.get(num) ?? 0) + count);
      };

      // Before anything is waited for: the supervisor may not even have started.
      await add(3);
      await whole(directory, COUNT);
      await work(20);
      await whole(directory, COUNT + POOL);
      // Every instance has counted and set something.
      for (const { num } of container.instances.slice(1)) {
        while (!byNum.has(num)) await add(1);
        await untilAnsweredBy(container, num, "/level/5");
      }
      let last = await scrape(program.port);
      const first = Object.keys(last.series).toSorted();
      expect(first).toContain('level{num="1",name="web"}');

      let done = 0;
      for (let i = 0; done < RESTARTS; i += 1) {
        const way = WAYS[i % WAYS.length]!;
        const before = generations(container);
        if (way === "killed while counting") {
          const dead = ask(addressOf(container), "/die/7");
          await expect(dead).rejects.toThrow();
          counted += 7;
        } else await restart(way, program);
        done += 1;
        // Someone always answers.
        await add(2);
        await vi.waitUntil(() => isBack(container, before), SOON);
        if (way === "killed while counting") {
          const [num] = changed(before, generations(container));
          byNum.set(num!, (byNum.get(num!) ?? 0) + 7);
        }
        if (i % 3 === 0) last = merged(last, compare(last, await scrape(program.port)));
        if (i % 10 !== 0) continue;
        await work(10);
        await expect(pool.mapProcesses([{ n: 0, dies: true }])).rejects.toThrow("SIGKILL");
        items += 1;
      }
      // The pool starts a child only when there is an item for it.
      await work(40);
      await whole(directory, COUNT + POOL);
      // A gauge begins at 0 after a restart: that is a value too.
      const { series } = compare(last, await scrape(program.port));
      expect(Object.keys(series).toSorted()).toEqual(first);
      expect(series['hits_total{name="web"}']).toBe(counted);
      for (const [num, count] of byNum)
        expect(series[`num_hits_total{num="${num}",name="web"}`], `num ${num}`).toBe(count);
      expect(series['work_items_total{name="Work",pool="Work"}']).toBe(items);
      const restarts = container.instances.map(
        ({ num, name }) => series[`forkmap_restarts_total{num="${num}",name="${name}"}`]!,
      );
      expect(restarts).toEqual(container.instances.map((each) => each.restarts));
      expect(restarts.reduce((sum, each) => sum + each)).toBeGreaterThanOrEqual(done);
    });
  },
);

interface Program {
  readonly container: Container;
  readonly directory: string;
  /** Of the metrics. */
  readonly port: number;
}

async function start(startMethod: "fork" | "spawn"): Promise<Program> {
  const directory = path.join(temporaryDirectory(), "supervisor");
  const port = await freePort();
  const policy = new Recorder();
  const container = contained({ startMethod, policy, sockets: { http: ANY } });
  const keep = {
    restart: "always",
    backoff: { min: 10, max: 50 },
    intensity: { restarts: 100_000 },
  } as const;
  container.spawn(new Supervisor({ directory, metrics: { port } }), {
    name: "supervisor",
    ...keep,
  });
  // For what instances count before the supervisor has started.
  expect(existsSync(directory)).toBe(true);
  container.run(new Web(), { name: "web", count: COUNT, supervised: true, ...keep });
  return { container, directory, port };
}

/** One restart, of any instance or of the supervisor. */
async function restart(way: string, { container, directory }: Program): Promise<void> {
  if (way === "exit" || way === "crash") {
    await ask(addressOf(container), `/exit/${way === "exit" ? 0 : 3}`);
    return;
  }
  const name = way === "supervisor" ? "supervisor" : "web";
  const able = container.instances.filter((each) => each.name === name && each.pid !== undefined);
  const { num, pid } = able[Math.floor(Math.random() * able.length)]!;
  if (way !== "restart") {
    process.kill(pid!, "SIGKILL");
    return;
  }
  await statusOnce(directory, (state) => supervisorIn(state).state === "ready");
  await using client = await SupervisorClient.connect(directory);
  expect(await client.call({ do: "restart" }, { num })).toEqual({ restarted: 1 });
}

async function whole(directory: string, count: number) {
  return await statusOnce(directory, (state) => knownIn(state).length === count);
}

function generations(container: Container): ReadonlyMap<number, number> {
  return new Map(container.instances.map(({ num, generation }) => [num, generation]));
}

function changed(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>) {
  return [...after.keys()].filter((num) => after.get(num) !== before.get(num));
}

function isBack(container: Container, before: ReadonlyMap<number, number>): boolean {
  const isReady = container.instances.every(({ state }) => state === "ready");
  return isReady && changed(before, generations(container)).length > 0;
}

/** Over connections of their own, which any instance may take. */
async function untilAnsweredBy(container: Container, num: number, what: string): Promise<void> {
  await vi.waitUntil(async () => {
    const { body } = await ask(addressOf(container), what);
    return (JSON.parse(body) as { num: number }).num === num;
  }, SOON);
}

/** Also while the supervisor is restarted: then it is asked again. */
async function scrape(port: number): Promise<Scrape> {
  return await vi.waitFor(async () => {
    const answer = await ask({ host: "127.0.0.1", port }, "/metrics", new http.Agent());
    expect(answer.status, answer.body).toBe(200);
    return parse(answer.body);
  }, SOON);
}

function compare(last: Scrape, next: Scrape): Scrape {
  for (const [series, value] of Object.entries(next.series)) {
    const name = series.slice(0, series.indexOf("{"));
    if (next.types[name] !== "counter") continue;
    const before = last.series[series];
    if (before !== undefined) expect(value, series).toBeGreaterThanOrEqual(before);
  }
  return next;
}

/** What one scrape has not shown, of a child that is about to introduce itself, is compared with the next. */
function merged(last: Scrape, next: Scrape): Scrape {
  return { ...next, series: { ...last.series, ...next.series } };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
