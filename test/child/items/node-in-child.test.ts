/** Node's features work inside a child as in any other process. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Parallel } from "forkmap";
import { NodeInChild } from "../../fixtures/node-in-child.mjs";

describe.each(["fork", "spawn"] as const)("in a child made by %s", (startMethod) => {
  let parallel: Parallel<{ what: string; detail?: unknown }, unknown>;
  let server: Server;
  let url: string;
  let directory: string;

  beforeAll(async () => {
    parallel = new Parallel(new NodeInChild(), { startMethod, concurrency: 2, timeout: 60_000 });
    server = createServer((request, response) => response.end(`hello ${request.url}`)).listen(
      0,
      "127.0.0.1",
    );
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    directory = mkdtempSync(path.join(tmpdir(), "node-in-child-"));
  });
  afterAll(async () => {
    await parallel.close();
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** In three children, because a feature that works once may fail in the next. */
  async function use(what: string, detail?: unknown): Promise<unknown> {
    const results = await parallel.mapProcesses(
      Array.from({ length: 3 }, () => ({ what, detail })),
    );
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    return results[0];
  }

  test("fetch", async () => {
    expect(await use("fetch", url)).toEqual({ status: 200, text: "hello /" });
    expect(await use("fetchMany", url)).toEqual(
      Array.from({ length: 20 }, (_, i) => `hello /${i}`),
    );
  });

  test("dns.lookup", async () => {
    expect(await use("dns")).toMatch(/^(127\.|::1$)/);
  });

  test("execFile, with its exit code", async () => {
    expect(await use("execFile")).toBe("42");
    expect(await use("failingExecFile")).toBe(5);
  });

  test("worker_threads", async () => {
    expect(await use("workerThread", 21)).toBe(42);
  });

  test("import()", async () => {
    expect(await use("dynamicImport")).toBe("loaded in the child");
  });

  test("zlib", async () => {
    expect(await use("zlib", "text ".repeat(10_000))).toEqual({ shorter: true, same: true });
  });

  test("fs.promises", async () => {
    expect(await use("files", directory)).toBe("written");
  });

  test("timers", async () => {
    const all = ["immediate", "tick", "timeout 1", "timeout 300"];
    expect(await use("timers")).toEqual({ ticks: 5, first: "tick", all, late: true });
  });

  test("WebAssembly", async () => {
    expect(await use("webAssembly")).toBe(42);
  });

  test("web crypto", async () => {
    expect(await use("crypto")).toBe("ba7816bf");
  });
});
