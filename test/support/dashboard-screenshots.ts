/**
 * Takes pictures of the dashboard, to be looked at: wide and narrow, light and dark, with 4 and with 64 instances.
 *
 *     npm run build && npx tsx test/support/dashboard-screenshots.ts <folder>
 */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startChromium } from "./chromium.js";
import { FakeSupervision } from "./fake-supervision.js";
import type * as Served from "../../src/supervisor/dashboard.js";
import type { SupervisionState } from "../../src/supervisor/supervision-state.js";

const { serveDashboard } = (await import(
  new URL("../../dist/supervisor/dashboard.js", import.meta.url).href
)) as typeof Served;
const [folder = "."] = process.argv.slice(2);
const TITLES = ["GET /reports/2026/q3", "idle", "reindexing 3,120 of 18,004", ""];

/** Its past goes by in a moment, so that the plots are full. */
class Past extends FakeSupervision {
  override async *watch(signal: AbortSignal): AsyncGenerator<SupervisionState> {
    for (let second = 118; second > 0; second -= 1) {
      this.#live(second);
      yield { ...this.state(Date.now() - second * 1000), events: [] };
    }
    for await (const state of super.watch(signal)) {
      this.#live(0);
      yield state;
    }
  }

  #live(ago: number): void {
    const now = Date.now() - ago * 1000;
    for (const each of this.instances) {
      if (each.state === "waiting" || each.state === "ended") continue;
      const wave = Math.sin(ago / (9 + (each.num % 7)) + each.num);
      const grown = Math.max(0, now - each.startedAt) / 1e3;
      each.memory =
        46e6 + (each.num % 5 === 2 ? 6e5 : 4e4) * Math.min(grown, 120) + 2e6 * Math.random();
      each.cpu = Math.max(0.01, 0.22 + 0.18 * wave + 0.08 * Math.random());
      each.utilization = Math.min(1, each.cpu * 1.1);
      each.delay = 1 + 4 * each.cpu * Math.random();
      each.inFlight = Math.round(12 * each.cpu);
      each.items = (each.items ?? 0) + Math.round(each.cpu * 80);
      if ((each.num === 2 && ago === 40) || (each.num % 9 === 5 && ago === 30 + each.num))
        this.restart(each, now);
    }
  }
}

function filled(count: number): Past {
  const source = new Past();
  for (let num = 0; num < count; num += 1) {
    source.add({ num, status: TITLES[num % 4]! }, (num + 1) * 3_700_000);
  }
  const [, second, , last] = source.instances;
  if (count > 4) {
    for (const num of [11, 30]) {
      Object.assign(source.instances[num]!, {
        state: "starting",
        generation: 4,
        restarts: 3,
        failures: 2,
      });
    }
    Object.assign(source.instances[41]!, { state: "stopping" });
    Object.assign(source.instances[52]!, {
      state: "ended",
      pid: undefined,
      memory: undefined,
      cpu: undefined,
      restarts: 10,
      failures: 10,
      lastEnd: "exit code 1",
    });
    source.add({ num: 0, name: "resize", pool: "Resize" }, 5000);
    source.add({ num: 1, name: "resize", pool: "Resize" }, 5000);
  }
  Object.assign(second!, { restarts: 3, failures: 3, generation: 4, lastEnd: "SIGKILL" });
  Object.assign(last!, {
    state: "waiting",
    pid: undefined,
    memory: undefined,
    cpu: undefined,
    failures: 5,
    restarts: 4,
    generation: 5,
    lastEnd: "exit code 1: cannot connect to the database",
  });
  source.stacks = {
    threads: [
      {
        id: 0,
        name: "main",
        state: "blocked",
        stack:
          "    at primes (file:///srv/app/primes.js:12:9)\n    at Web.report (file:///srv/app/web.js:88:20)",
        resources: { Timeout: 2, TCPSocketWrap: 5 },
      },
      { id: 1, name: "resize", state: "idle" },
    ],
  };
  source.monitors = [
    { name: "MemoryMonitor", interval: 10_000, runs: 214, lastRun: undefined, status: {} },
    {
      name: "QueueMonitor",
      interval: 60_000,
      runs: 31,
      lastRun: undefined,
      error: "connect ECONNREFUSED",
      status: {},
    },
  ];
  source.tell(last!, "ended", "exit code 1: cannot connect to the database", Date.now() - 90_000);
  source.tell(second!, "started", "pid 4001, generation 4", Date.now() - 80_000);
  source.tell(second!, "ready", "after 312 ms", Date.now() - 79_000);
  source.tell(
    source.instances[0]!,
    "note",
    "MemoryMonitor: 512 MB is above the limit of 480 MB",
    Date.now() - 70_000,
  );
  return source;
}

const browser = await startChromium();
for (const count of [4, 64]) {
  await using dashboard = await serveDashboard(filled(count));
  for (const colorScheme of ["light", "dark"] as const) {
    for (const [name, width, height] of [
      ["wide", 1440, 900],
      ["middle", 1100, 800],
      ["narrow", 390, 844],
    ] as const) {
      if (name === "middle" && colorScheme === "dark") continue;
      const context = await browser.newContext({
        viewport: { width, height },
        colorScheme,
        deviceScaleFactor: name === "narrow" ? 2 : 1,
      });
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      page.on("console", (message) => console.error(message.text()));
      page.on("pageerror", (error) => console.error(error));
      await page.goto(dashboard.url);
      await delay(colorScheme === "light" && name === "wide" ? 6000 : 2500);
      const file = (what: string): string =>
        path.join(folder, `${count}-${name}-${colorScheme}${what}.png`);
      await page.screenshot({ path: file("") });
      if (count === 4 && name !== "middle") {
        await page.getByRole("button", { name: "Stacks of web 0" }).click();
        await delay(200);
        await page.screenshot({ path: file("-stacks") });
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: "Restart all" }).click();
        await page.screenshot({ path: file("-confirm") });
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: "Heap snapshot of web 0" }).click();
        await delay(400);
        await page.screenshot({ path: file("-notice") });
      }
      await context.close();
    }
  }
}
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
const page = await context.newPage();
const dashboard = await serveDashboard(filled(4));
await page.goto(dashboard.url);
await delay(3000);
await dashboard.close();
await delay(1500);
await page.screenshot({ path: path.join(folder, "lost.png") });
await browser.close();
