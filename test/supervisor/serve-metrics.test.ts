/** Scrapes over HTTP, through a port and a Unix socket. */
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync, symlinkSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { forgetWarnings } from "../../src/supervisor/monitor-warning.js";
import { Prometheus } from "../../src/supervisor/prometheus.js";
import {
  type MetricsAddress,
  type MetricsServer,
  serveMetrics,
} from "../../src/supervisor/serve-metrics.js";
import { soon } from "../support/contained.js";
import { numOf, parse } from "../support/metrics.js";
import { node } from "../support/supervised.js";
import { temporaryDirectory } from "../support/temporary.js";
import { warned } from "../support/warned.js";

const warnings = warned();
beforeEach(forgetWarnings);

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

async function serve(address: MetricsAddress, page?: () => Promise<never>) {
  const prometheus = await Prometheus.of({ collect: () => [numOf(0), numOf(1)] });
  const server = serveMetrics(address, page ?? (() => prometheus.page()));
  open.push(server);
  return server;
}

async function ask(where: http.RequestOptions) {
  const request = http.request({ path: "/metrics", agent: false, ...where }).end();
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const { statusCode: status, headers } = response;
  return { status, headers, text: await text(response) };
}

function portOf({ url }: MetricsServer): number {
  return Number(new URL(url!).port);
}

const PLACES: [string, () => MetricsAddress][] = [
  ["a port", () => ({ port: 0 })],
  ["a Unix socket", () => ({ path: path.join(temporaryDirectory(), "metrics.sock") })],
];

describe.each(PLACES)("%s", (_, place) => {
  it("serves GET /metrics and nothing else", async () => {
    const address = place();
    const server = await serve(address);
    await server.listening;
    const where = "path" in address ? { socketPath: address.path } : { port: portOf(server) };
    for (const path of ["/metrics", "/metrics?name=a"]) {
      const page = await ask({ ...where, path });
      expect(page.status).toBe(200);
      expect(page.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
      expect(parse(page.text).series).toHaveProperty([
        'forkmap_restarts_total{num="1",name="web"}',
      ]);
    }
    expect(await ask({ ...where, path: "/" })).toMatchObject({ status: 404 });
    expect(await ask({ ...where, path: "/metricsx" })).toMatchObject({ status: 404 });
    const posted = await ask({ ...where, method: "POST" });
    expect(posted).toMatchObject({ status: 405, headers: { allow: "GET" } });
    expect(warnings).toEqual([]);
  });

  it("closes at once, with connections open", async () => {
    const address = place();
    const server = await serve(address);
    await server.listening;
    const where = "path" in address ? { path: address.path } : { port: portOf(server) };
    const connection = net.connect(where as net.NetConnectOpts);
    await once(connection, "connect");
    const ended = once(connection, "close");
    await server.close();
    await ended;
    await server.close();
    if ("path" in address) expect(readdirSync(path.dirname(address.path))).toEqual([]);
  });

  it("says that there is no page if it cannot be made", async () => {
    const address = place();
    const server = await serve(address, () => Promise.reject(new RangeError("why")));
    await server.listening;
    const where = "path" in address ? { socketPath: address.path } : { port: portOf(server) };
    expect(await ask(where)).toMatchObject({ status: 500 });
    expect(warnings).toEqual([
      { code: "FORKMAP_METRICS", message: "Metrics cannot be shown: why" },
    ]);
  });
});

it("waits in silence for a port that the supervisor before it still has", async () => {
  const first = await serve({ port: 0 });
  await first.listening;
  const port = portOf(first);
  const second = await serve({ port });
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(second.url).toBeUndefined();
  await first.close();
  await second.listening;
  expect(second.url).toBe(`http://127.0.0.1:${port}/metrics`);
  expect(await ask({ port })).toMatchObject({ status: 200 });
  expect(warnings).toEqual([]);
});

it("warns of an address that it cannot have, and can be closed", async () => {
  const missing = path.join(temporaryDirectory(), "missing", "metrics.sock");
  const server = await serve({ path: missing });
  await soon(() => expect(warnings).toHaveLength(1));
  expect(warnings[0]).toEqual({
    code: "FORKMAP_METRICS",
    message: expect.stringMatching(/^Metrics cannot be served: .*missing.*\. It is tried again$/),
  });
  await server.close();
});

describe("a Unix socket", () => {
  it("whose name a directory has is warned of, and listens when that has gone", async () => {
    const address = { path: path.join(temporaryDirectory(), "metrics.sock") };
    mkdirSync(address.path);
    const server = await serve(address);
    await soon(() => expect(warnings).toHaveLength(1));
    expect(warnings[0]!.message).toMatch(/^Metrics cannot be served: EISDIR/);
    expect(server.url).toBeUndefined();
    rmdirSync(address.path);
    await soon(() => expect(server.url).toBe(address.path));
    expect(await ask({ socketPath: address.path })).toMatchObject({ status: 200 });
    await server.close();
    expect(readdirSync(path.dirname(address.path))).toEqual([]);
  });

  it("may have a path that is longer than those of sockets", async () => {
    const folder = path.join(temporaryDirectory(), "x".repeat(120));
    const missing = await serve({ path: path.join(folder, "metrics.sock") });
    await soon(() => expect(warnings).toHaveLength(1));
    await missing.close();
    mkdirSync(folder);
    const server = await serve({ path: path.join(folder, "metrics.sock") });
    await server.listening;
    expect(readdirSync(folder)).toEqual(["metrics.sock"]);
    symlinkSync(folder, path.join(folder, "..", "short"));
    const socketPath = path.join(folder, "..", "short", "metrics.sock");
    expect(await ask({ socketPath })).toMatchObject({ status: 200 });
    await server.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("is only this user's from the beginning", async () => {
    const address = { path: path.join(temporaryDirectory(), "metrics.sock") };
    await (
      await serve(address)
    ).listening;
    expect(statSync(address.path).mode & 0o777).toBe(0o600);
  });

  it("is taken over from a supervisor that was killed, and from one that still runs", async () => {
    const address = { path: path.join(temporaryDirectory(), "metrics.sock") };
    const killed = await node(
      `require("node:net").createServer().listen(${JSON.stringify(address.path)}, () => console.log("listens"))`,
    );
    killed.kill("SIGKILL");
    await once(killed, "exit");
    expect(existsSync(address.path)).toBe(true);
    const first = await serve(address);
    await first.listening;
    expect(await ask({ socketPath: address.path })).toMatchObject({ status: 200 });
    const second = await serve(address);
    await second.listening;
    await first.close();
    expect(await ask({ socketPath: address.path })).toMatchObject({ status: 200 });
    await second.close();
    expect(readdirSync(path.dirname(address.path))).toEqual([]);
    expect(warnings).toEqual([]);
  });
});
