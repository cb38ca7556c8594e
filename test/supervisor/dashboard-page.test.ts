/** The page of the dashboard, in a browser, with a supervisor and its instances. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { Supervisor, SupervisorClient } from "forkmap/supervisor";
import { Container } from "forkmap/container";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { serveDashboard } from "../../dist/supervisor/dashboard.js";
import { Idle } from "../fixtures/supervised/idle.mjs";
import { startChromium } from "../support/chromium.js";
import { FakeSupervision } from "../support/fake-supervision.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let browser: Browser;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  browser = await startChromium();
});
afterAll(() => browser.close());
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

interface Opened {
  readonly page: Page;
  /** What the browser has complained of. */
  readonly problems: string[];
  /** Origins that it has asked for anything. */
  readonly origins: Set<string>;
}

async function open(
  url: string,
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  ends.push(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(SOON.timeout);
  const problems: string[] = [];
  const origins = new Set<string>();
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => origins.add(new URL(request.url()).origin));
  await page.goto(url);
  return { page, problems, origins };
}

async function faked(source: FakeSupervision, options?: Parameters<typeof open>[1]) {
  const dashboard = await serveDashboard(source);
  ends.push(() => dashboard.close());
  return { dashboard, ...(await open(dashboard.url, options)) };
}

const row = (page: Page, label: string) =>
  page.getByRole("row").filter({ has: page.getByRole("button", { name: `Restart ${label}` }) });

describe("with a supervisor and its instances", () => {
  async function supervised(
    count: number,
  ): Promise<{ container: Container; client: SupervisorClient }> {
    // Not `contained`, which waits until this process has no children: it has a browser.
    const container = new Container();
    ends.push(() => container.stop());
    const supervisor = new Supervisor({ directory: `${temporaryDirectory()}/supervisor` });
    container.spawn(supervisor, { name: "supervisor", restart: "always" });
    container.run(new Idle(), { count, name: "idle", restart: "always", supervised: true });
    await container.waitUntilReady();
    const client = await SupervisorClient.connect(supervisor.directory);
    ends.push(() => client.close());
    return { container, client };
  }

  test("it shows them, restarts one by keyboard, and all after a question", async () => {
    const { client, container } = await supervised(3);
    const dashboard = await client.dashboard();
    ends.push(() => dashboard.close());
    const { page, problems, origins } = await open(dashboard.url);
    const { num } = container.instances.find(({ name }) => name === "idle")!;
    const first = row(page, `idle ${num}`);
    await first.getByText("gen. 1").waitFor();
    await expect(first.getByText("ready").count()).resolves.toBe(1);
    await vi.waitFor(async () => expect(await first.innerText()).toMatch(/\d MB/), SOON);
    expect(new URL(page.url()).search).toBe("");

    const button = page.getByRole("button", { name: `Restart idle ${num}` });
    await button.focus();
    await page.keyboard.press("Enter");
    await first.getByText("gen. 2").waitFor();
    await page.getByRole("list", { name: "Events" }).getByText(`idle ${num}`).first().waitFor();
    // Whoever uses the keyboard is still where they were.
    expect(await button.evaluate((element: any) => element.matches(":focus"))).toBe(true);
    expect(container.instances.find((each) => each.num === num)!.generation).toBe(2);

    await page.getByRole("button", { name: "Restart all" }).click();
    const dialog = page.getByRole("dialog", { name: /Restart all/ });
    await dialog.getByRole("button", { name: "Cancel" }).click();
    expect(container.instances.map(({ generation }) => generation).toSorted()).toEqual([
      1, 1, 1, 2,
    ]);
    await page.getByRole("button", { name: "Restart all" }).click();
    await dialog.getByRole("button", { name: "Restart all" }).click();
    await first.getByText("gen. 3").waitFor();
    expect(problems).toEqual([]);
    expect([...origins]).toEqual([new URL(dashboard.url).origin]);
  });

  test("it shows the stacks of one, and downloads its heap", async () => {
    const { client } = await supervised(1);
    const dashboard = await client.dashboard();
    ends.push(() => dashboard.close());
    const { page } = await open(dashboard.url);
    const heap = page.getByRole("button", { name: "Heap snapshot of idle" });
    await vi.waitFor(
      async () => expect(await heap.getAttribute("aria-disabled")).toBe("false"),
      SOON,
    );
    await page.getByRole("button", { name: "Stacks of idle" }).click();
    await page.getByRole("dialog").getByText("Thread 0 (main): idle").waitFor();
    await page.keyboard.press("Escape");
    const [download] = await Promise.all([page.waitForEvent("download"), heap.click()]);
    const file = `${temporaryDirectory()}/heap`;
    await download.saveAs(file);
    expect(JSON.parse(readFileSync(file, "utf8"))).toHaveProperty("snapshot.meta");
    await page
      .getByRole("status")
      .getByText(/Heap snapshot of instance 1: [\d.]+ MB/)
      .waitFor();
  });

  test("it comes back with a supervisor that was started again", async () => {
    const { client, container } = await supervised(1);
    const dashboard = await client.dashboard();
    ends.push(() => dashboard.close());
    const { page } = await open(dashboard.url);
    await page.getByText("Live").waitFor();
    process.kill(container.instances.find(({ name }) => name === "supervisor")!.pid!, "SIGKILL");
    await page.getByRole("alert").getByText("The supervisor does not answer").waitFor();
    await page.getByText("Live").waitFor();
    await page.getByRole("button", { name: "Restart idle" }).waitFor();
  });
});

describe("for everybody", () => {
  function mixed(): FakeSupervision {
    const source = new FakeSupervision();
    source.add({ num: 0, status: "idle", utilization: 0.2, delay: 1.2, inFlight: 3, items: 40 });
    source.add({
      num: 1,
      state: "waiting",
      lastEnd: "exit code 1",
      failures: 2,
      isSupervised: false,
    });
    source.add({ num: 2, state: "ended", pid: undefined as never });
    source.add({ num: 0, pool: "Resize", name: "resize", state: "starting" });
    source.monitors = [
      { name: "M", interval: 1000, runs: 1, lastRun: undefined, error: "it threw", status: {} },
    ];
    source.tell(source.instances[1]!, "ended", "exit code 1");
    return source;
  }

  test.each([
    ["light", 1440],
    ["dark", 1440],
    ["light", 390],
    ["dark", 390],
  ] as const)("axe finds nothing serious: %s, %d wide", async (colorScheme, width) => {
    const { page, problems } = await faked(mixed(), {
      colorScheme,
      viewport: { width, height: 800 },
    });
    await page.getByText("Live").waitFor();
    for (const opens of ["", "Stacks of web 0", "Restart all"]) {
      if (opens) await page.getByRole("button", { name: opens }).click();
      // The page forbids scripts that are not its own; this one comes through the debugger.
      await page.evaluate(readFileSync(AXE, "utf8"));
      const found = await page.evaluate(async () => {
        const { violations } = await (globalThis as any).axe.run();
        return violations
          .filter(({ impact }: any) => impact === "serious" || impact === "critical")
          .map(({ id, nodes }: any) => `${id}: ${nodes.map(({ html }: any) => html).join(" ")}`);
      });
      expect(found).toEqual([]);
      await page.keyboard.press("Escape");
    }
    expect(problems).toEqual([]);
  });

  test("names and roles say what is what", async () => {
    const { page } = await faked(mixed());
    await page.getByText("Live").waitFor();
    const tree = await page.locator("main").ariaSnapshot();
    expect(tree).toContain("- table:");
    expect(tree).toContain('- button "Restart web 0"');
    expect(tree).toContain('- button "Stacks of web 0"');
    expect(tree).toContain('- button "Heap snapshot of web 0"');
    expect(tree).toContain('- button "Restart resize 0 in pool Resize"');
    expect(tree).toMatch(/- img "Memory of web 0 over two minutes, at most [\d.]+ MB"/);
    expect(tree).toMatch(/waiting exit code 1/);
    expect(tree).toContain('- list "Events":');
    // Nothing that the state does not allow.
    const disabled = await page
      .locator("tbody [aria-disabled=true]")
      .evaluateAll((buttons) => buttons.map((button) => button.getAttribute("aria-label")));
    expect(disabled).toEqual(
      expect.arrayContaining(["Stacks of web 1", "Heap snapshot of web 1", "Restart web 2"]),
    );
  });

  test("events are said, a few words at a time", async () => {
    const source = mixed();
    const { page } = await faked(source);
    await page.getByText("Live").waitFor();
    source.restart(source.instances[0]!);
    const said = page.locator("#announcements");
    await vi.waitFor(
      async () => expect(await said.textContent()).toContain("web 0 replaced: generation 2."),
      SOON,
    );
    for (let each = 0; each < 20; each += 1) source.restart(source.instances[0]!);
    await vi.waitFor(
      async () => expect(await said.textContent()).toContain("20 events: 20 replaced."),
      SOON,
    );
  });

  test("what instances say is text, whatever it is", async () => {
    const source = new FakeSupervision();
    const evil = `<img src=x onerror="document.title='evil'"><script>document.title='evil'</script>`;
    const instance = source.add({
      num: 0,
      name: evil,
      status: evil,
      state: "waiting",
      lastEnd: evil,
      pool: evil,
    });
    source.monitors = [
      { name: evil, interval: 1000, runs: 1, lastRun: undefined, error: evil, status: {} },
    ];
    source.stacks = evil;
    source.tell(instance, "note", evil);
    instance.state = "ready";
    const { page, problems } = await faked(source);
    await page.getByText("Live").waitFor();
    await page.getByRole("button", { name: "Stacks of" }).click();
    await page.getByRole("dialog").locator("pre").getByText(evil).waitFor();
    expect(await page.locator("main img, main script, dialog img, dialog script").count()).toBe(0);
    expect(await page.title()).toBe("forkmap instances");
    expect(problems).toEqual([]);
  });

  test("the plots have a gap and a mark at a restart, and go on after a reload", async () => {
    const source = new FakeSupervision();
    const instance = source.add({ num: 0 });
    const { page } = await faked(source);
    await vi.waitFor(() => expect(page.locator("canvas").count()).resolves.toBe(4), SOON);
    await page.waitForTimeout(3000);
    source.restart(instance);
    await page.waitForTimeout(2000);
    await page.reload();
    await page.getByText("Live").waitFor();
    await page.getByRole("img", { name: /Memory of web 0 .*, 1 restart$/ }).waitFor();
  });
});

test("a lost connection is shown, and the page comes back by itself", async () => {
  const source = new FakeSupervision();
  source.add({ num: 0 });
  const { page, dashboard } = await faked(source);
  await page.getByText("Live").waitFor();
  await dashboard.close();
  await page.getByRole("alert").getByText("Connection lost").waitFor();
  await page.getByText("Restart", { exact: true }).click();
  await page.getByRole("status").getByText("The dashboard does not answer.").waitFor();
});

test("stacks are shown and copied, a heap snapshot is downloaded", async () => {
  const source = new FakeSupervision();
  source.add({ num: 5 });
  const { page } = await faked(source, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.getByRole("button", { name: "Stacks of web 5" }).click();
  const dialog = page.getByRole("dialog", { name: "Stacks of web 5" });
  await dialog.getByText("at work (file:///app/web.js:12:3)").waitFor();
  await dialog.getByRole("button", { name: "Copy" }).click();
  await dialog.getByRole("button", { name: "Copied" }).waitFor();
  expect(await page.evaluate("navigator.clipboard.readText()")).toBe(source.stacks);
  await page.keyboard.press("Escape");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Heap snapshot of web 5" }).click(),
  ]);
  expect(download.suggestedFilename()).toMatch(/^forkmap-5-.*\.heapsnapshot$/);
  const file = `${temporaryDirectory()}/heap`;
  await download.saveAs(file);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ snapshot: {} });
});

test("instances are sorted and filtered", async () => {
  const source = new FakeSupervision();
  for (const num of [0, 1, 2])
    source.add({ num, memory: [10e6, 30e6, 20e6][num]!, name: num === 1 ? "db" : "web" });
  const { page } = await faked(source);
  await page.getByText("Live").waitFor();
  const nums = () => page.locator("tbody tr:not([hidden]) .num").allTextContents();
  await page.getByRole("button", { name: "Memory", exact: true }).click();
  expect(await nums()).toEqual(["1", "2", "0"]);
  expect(await page.getByRole("columnheader", { name: /Memory/ }).getAttribute("aria-sort")).toBe(
    "descending",
  );
  await page.getByLabel(/^Filter/).fill("web");
  expect(await nums()).toEqual(["2", "0"]);
  await page.getByLabel(/^Filter/).fill("nothing");
  await page.getByText("No instance fits the filter.").waitFor();
});
