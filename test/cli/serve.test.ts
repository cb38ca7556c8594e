/** `forkmap serve` with a real server: what it finds, serves and tells, and how it ends. */
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Queue, QueueEvents } from "bullmq";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { fixture } from "../support/run-script.js";
import { SOON } from "../support/soon.js";
import { runCli, startCli } from "./run-cli.js";

const WORKERS = fixture("serve/workers.mjs");
const WAITS = fixture("serve/waits.mjs");
/** The types of Node 20 do not have it. */
const stripsTypes = Boolean((process.features as { readonly typescript?: unknown }).typescript);
const NO_SERVER = "redis://:secret@127.0.0.1:1";

/** Waits for a line of stderr that fits, and returns its groups. */
class Served {
  readonly process: ChildProcess;
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  stderr = "";

  constructor(args: readonly string[], env?: Record<string, string>) {
    this.process = startCli(["serve", ...args], env);
    this.exited = once(this.process, "close") as typeof this.exited;
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.process.stdout!.resume();
  }

  async line(pattern: RegExp): Promise<string[]> {
    return await vi.waitFor(() => {
      expect(this.stderr).toMatch(pattern);
      return pattern.exec(this.stderr)!.slice(1);
    }, SOON);
  }

  async serving(): Promise<void> {
    await this.line(/^forkmap serve: serving /m);
  }

  async health(): Promise<string> {
    const [url] = await this.line(/health at (http:\S+)\/health/);
    return url!;
  }

  async stop(): Promise<void> {
    this.process.kill("SIGTERM");
    expect(await this.exited, this.stderr).toEqual([0, null]);
  }
}

/** Removed after its test. */
let folder: string;
afterEach(() => {
  if (folder) rmSync(folder, { recursive: true, force: true });
});
function newFolder(): string {
  return (folder = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-serve-")));
}

describe("forkmap serve", () => {
  it.each([
    [[], "expected a module that exports workers, as in forkmap serve worker.ts"],
    [["nowhere.mjs"], "nowhere.mjs does not exist: expected a module that exports workers"],
    [[WORKERS, "--processes", "0"], "--processes 0 is not a whole number of at least 1"],
    [[WORKERS, "--fibers", "1.5"], "--fibers 1.5 is not a whole number of at least 1"],
    [[WORKERS, "--timeout", "9e9"], "--timeout 9e9 is not a whole number of at least 1"],
    [[WORKERS, "--queue", ""], "--queue has an empty value"],
    [[WORKERS, "--queue", "a:b"], "queues"],
    [[WORKERS, "--pool", "--no-pool"], "--pool and --no-pool exclude each other"],
    [[WORKERS, "--no-pool", "--fibers", "2"], "The option `fibers` needs `pool: true`"],
    [[WORKERS, "--health", "localhost"], "--health localhost is not a port, or a host and a port"],
    [[WORKERS, "--health", "70000"], "--health 70000 is not a port"],
    [[WORKERS, "--colour"], "Unknown option '--colour'"],
  ])("%j is a usage error", async (args, message) => {
    const ran = await runCli(["serve", ...args]);
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toContain(message);
    expect(ran.stderr).toMatch(/^forkmap serve: .*; see forkmap serve --help\n$/);
  });

  it("prints its help", async () => {
    const help = await runCli(["serve", "--help"]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    expect(help.stdout).toMatch(/^Usage: forkmap serve \[options\] module\.\.\.\n/);
  });

  it.each([
    [
      fixture("serve/unnamed.mjs"),
      /unnamed\.mjs exports no worker with a name that all machines know; it exports the class Resize, the function help, the number size: write static workerName = "resize@1" into the class\n/,
    ],
    [
      fixture("serve/needs-arguments.mjs"),
      /The constructor of the class Scale, which \S+needs-arguments\.mjs exports, expects 1 argument, and serve has none: export an instance, such as export const worker = new Scale\(\.\.\.\)\n/,
    ],
    [
      fixture("throws-while-loading.mjs"),
      /throws-while-loading\.mjs could not be loaded: RangeError: from the module\n    at file:\S+throws-while-loading\.mjs:5:7\n$/,
    ],
  ])("says why it cannot serve %s", async (module, message) => {
    const ran = await runCli(["serve", module]);
    expect(ran).toMatchObject({ code: 1, stdout: "" });
    expect(ran.stderr).toMatch(message);
  });

  it("says that no server answers, without its password", async () => {
    const ran = await runCli(["serve", WORKERS, "--connection", NO_SERVER]);
    expect(ran).toMatchObject({ code: 1, stdout: "" });
    expect(ran.stderr).toMatch(/^forkmap serve: .*127\.0\.0\.1:1.*\n/);
    expect(ran.stderr).not.toContain("secret");
  });

  it("says that the address of --health is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const ran = await runCli(["serve", WORKERS, "--health", String(port)]);
    other.close();
    expect(ran).toMatchObject({ code: 1, stdout: "" });
    expect(ran.stderr).toContain(`--health cannot listen at http://127.0.0.1:${port}: `);
  });

  it.skipIf(stripsTypes)("says how older versions of Node run TypeScript", async () => {
    const ran = await runCli(["serve", fixture("serve/typed.ts")]);
    expect(ran).toMatchObject({ code: 1, stdout: "" });
    expect(ran.stderr).toContain("install tsx and add --import tsx\n");
  });

  it("says that what --import names is not installed", async () => {
    const ran = await runCli(["serve", WORKERS, "--import", "no-such-loader"]);
    expect(ran).toMatchObject({ code: 1, stdout: "" });
    expect(ran.stderr).toContain("npm install no-such-loader");
  });
});

describeWithRedis("forkmap serve with a server", () => {
  let redis: RedisServer;
  const queues = new Map<string, { readonly queue: Queue; readonly events: QueueEvents }>();

  beforeAll(async () => {
    redis = await startRedis({ password: "secret" });
  });

  afterAll(async () => {
    for (const { queue, events } of queues.values())
      await Promise.all([queue.close(), events.close()]);
    await redis.stop();
  });

  function serve(...args: string[]): Served {
    return new Served([...args, "--processes", "2"], {
      FORKMAP_CONNECTION: redis.url,
      TSX_DISABLE_CACHE: "1",
    });
  }

  function open(name: string) {
    let opened = queues.get(name);
    if (!opened) {
      const connection = { url: redis.url, maxRetriesPerRequest: null };
      const events = new QueueEvents(name, { connection, lastEventId: "0-0" });
      opened = { queue: new Queue(name, { connection }), events };
      opened.queue.on("error", () => {});
      events.on("error", () => {});
      queues.set(name, opened);
    }
    return opened;
  }

  async function resultOf(name: string, data: unknown, queue = name): Promise<unknown> {
    const { queue: to, events } = open(queue);
    const job = await to.add(name, data);
    return await job.waitUntilFinished(events);
  }

  it("serves what its modules export, each in a process of its own, and ends with 0", async () => {
    const served = serve(WORKERS);
    const [what, at, last] = await served.line(
      /^forkmap serve: serving (.*) at (\S+), (2 items at once)\n/m,
    );
    expect(what).toMatch(/^times@1, negate@1, upper@1 from the queues /);
    expect(at).toBe(`redis://127.0.0.1:${redis.port}`);
    expect(last).toBeDefined();
    const upper = (await resultOf("upper@1", { text: "a" })) as { text: string; pid: number };
    expect(upper.text).toBe("A");
    expect(upper.pid).not.toBe(served.process.pid);
    expect(await resultOf("times@1", { n: 2 })).toBe(6);
    expect(await resultOf("negate@1", { n: 2 })).toBe(-2);
    await served.stop();
    expect(served.stderr).toMatch(/\nforkmap serve: stopped: 3 jobs succeeded, 0 failed\n$/);
    expect(served.stderr).not.toContain("secret");
  });

  it("takes jobs from the queues that are named, with a fresh process for each", async () => {
    const served = serve(WORKERS, "--queue", "first", "--queue", "second", "--no-pool");
    await served.line(/from the queues first, second at/);
    const results = [];
    for (const queue of ["first", "second", "first"])
      results.push((await resultOf("upper@1", { text: "a" }, queue)) as { pid: number });
    expect(new Set(results.map(({ pid }) => pid)).size).toBe(3);
    await served.stop();
  });

  it("runs TypeScript with --import tsx, in its children too", async () => {
    const served = serve(fixture("serve/typed.ts"), "--import", "tsx");
    await served.serving();
    expect(await resultOf("typed@1", { n: 1 })).toBe(2);
    await served.stop();
  });

  it.skipIf(!stripsTypes)("runs TypeScript as Node does", async () => {
    const served = serve(fixture("serve/typed.ts"));
    await served.serving();
    expect(await resultOf("typed@1", { n: 2 })).toBe(3);
    await served.stop();
  });

  it("ends the jobs that run on SIGTERM, and is not healthy meanwhile", async () => {
    const [begun, until] = ["begun", "until"].map((name) => path.join(newFolder(), name));
    const served = serve(WAITS, "--health", "0");
    const url = await served.health();
    const result = resultOf("waits@1", { begun, until });
    await vi.waitFor(() => expect(existsSync(begun!)).toBe(true), SOON);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    served.process.kill("SIGTERM");
    await vi.waitFor(async () => {
      const response = await fetch(`${url}/health`);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ state: "stopping", held: 1 });
    }, SOON);
    expect((await fetch(`${url}/live`)).status).toBe(200);
    writeFileSync(until!, "");
    expect(await result).toBe("done");
    expect(await served.exited).toEqual([0, null]);
  });

  it("gives the jobs that run back on the second signal, and exits with 1", async () => {
    const [begun, until] = ["begun", "until"].map((name) => path.join(newFolder(), name));
    const served = serve(WAITS);
    await served.serving();
    const result = resultOf("waits@1", { begun, until });
    await vi.waitFor(() => expect(existsSync(begun!)).toBe(true), SOON);
    const other = serve(WAITS);
    await other.serving();
    rmSync(begun!);
    served.process.kill("SIGTERM");
    await served.line(/stopping/i);
    served.process.kill("SIGTERM");
    expect(await served.exited).toEqual([1, null]);
    await vi.waitFor(() => expect(existsSync(begun!)).toBe(true), SOON);
    writeFileSync(until!, "");
    expect(await result).toBe("done");
    await other.stop();
  });

  it("tells probes how it is, also while the server is away", async () => {
    const served = serve(WORKERS, "--health", "127.0.0.1:0");
    const url = await served.health();
    const response = await fetch(`${url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ state: "serving", connected: true });
    expect((await fetch(`${url}/`)).status).toBe(404);
    expect((await fetch(`${url}/health`, { method: "POST" })).status).toBe(405);
    await redis.kill();
    const status = async () => (await fetch(`${url}/health`)).status;
    await vi.waitFor(async () => expect(await status()).toBe(503), SOON);
    expect((await fetch(`${url}/live`)).status).toBe(200);
    await redis.restart();
    await vi.waitFor(async () => expect(await status()).toBe(200), SOON);
    await served.stop();
  });

  it("tells who has started it when it is ready, and its children do not", async () => {
    const log = path.join(newFolder(), "notify.log");
    const served = new Served([WORKERS, "--processes", "1"], {
      FORKMAP_CONNECTION: redis.url,
      NOTIFY_LOG: log,
    });
    await served.serving();
    await served.stop();
    const news = readFileSync(log, "utf8").trim().split("\n");
    expect(news.map((line) => JSON.parse(line) as object)).toMatchObject([
      { status: "Starting" },
      { ready: true, status: "Serving" },
      { stopping: true },
      { status: "Stopped" },
    ]);
  });
});
