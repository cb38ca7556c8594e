/** Whatever a worker's module has open or running when its children are forked, they return the same as spawned children. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AnyWorker, ParallelOptions } from "forkmap";
import { Closes } from "../../fixtures/inherits/closes.mjs";
import { Fetches } from "../../fixtures/inherits/fetches.mjs";
import { AsksPostgres } from "../../fixtures/inherits/postgres.mjs";
import { ReadsFiles } from "../../fixtures/inherits/reads-files.mjs";
import { AsksRedis, AsksRedisAnew } from "../../fixtures/inherits/redis.mjs";
import { Transpiles } from "../../fixtures/inherits/transpiles.mjs";
import { WorksInBackground } from "../../fixtures/inherits/works-in-background.mjs";
import { opened } from "../../support/opened.js";
import { httpServer } from "../../support/servers/http.js";
import type { Listening } from "../../support/servers/listening.js";
import { postgresServer } from "../../support/servers/postgres.js";
import { redisServer } from "../../support/servers/redis.js";

type Options = Pick<
  ParallelOptions,
  "concurrency" | "pool" | "fibers" | "batch" | "startMethod" | "maxItemsPerChild"
>;
const MODES: readonly (readonly [string, Options])[] = [
  ["a child per item", { concurrency: 4 }],
  ["a pool", { pool: 2 }],
  ["spawn", { startMethod: "spawn", pool: 2 }],
];

const HTTP_CLIENTS = [
  ["fetch", "in preload"],
  ["undici Pool", "at top level"],
  ["fetch", "at top level"],
  ["fetch", "unawaited"],
  ["http.get", "in preload"],
  ["http.Agent", "at top level"],
  ["axios", "in preload"],
  ["undici Agent", "in preload"],
] as const;

async function run<Result>(
  worker: AnyWorker<string, Result>,
  items: readonly string[],
  options: Options,
  env: Readonly<Record<string, string>> = {},
) {
  const parallel = opened(worker, {
    ...options,
    timeout: 20_000,
    env: { ...process.env, ...env },
  });
  const results = await parallel.mapProcesses(items);
  const { startMethod, reason } = parallel.stats();
  // Closed before the servers.
  await parallel.close();
  return { results, startMethod, reason };
}

describe.each(MODES)("%s", (_, options) => {
  const forks = options.startMethod !== "spawn";
  let server: Listening | undefined;
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), "inherits-"));
  });
  afterEach(async () => {
    await server?.close();
    server = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  // The code that closes idle connections is the same for all kinds of children.
  test.each(options.pool === undefined ? HTTP_CLIENTS : HTTP_CLIENTS.slice(0, 1))(
    "%s, used %s: each item gets its own answer",
    async (client, when) => {
      server = await httpServer();
      const paths = Array.from({ length: 24 }, (_, i) => `/${i}`);
      const env = {
        FORKMAP_TEST_PORT: String(server.port),
        FORKMAP_TEST_CLIENT: client,
        FORKMAP_TEST_WHEN: when,
      };
      const { results, startMethod, reason } = await run(new Fetches(), paths, options, env);
      expect(results).toEqual(paths);
      expect({ startMethod, reason }).toEqual({
        startMethod: forks ? "fork" : "spawn",
        reason: undefined,
      });
    },
  );

  test.each(forks ? ["at top level", "in preload"] : ["in preload"])(
    "Redis, connected %s",
    async (when) => {
      server = await redisServer();
      const { port } = server;
      const env = { FORKMAP_TEST_PORT: String(port), FORKMAP_TEST_WHEN: when };
      // It disconnects after each item, so that the child has nothing left to wait for.
      const keys = ["k1", "k2", "k3", "k4"];
      const { results, startMethod, reason } = await run(
        new AsksRedis(),
        keys,
        { ...options, fibers: 1, maxItemsPerChild: 1 },
        env,
      );
      expect(results).toEqual(["v1", "v2", "v3", "v4"]);
      expect(startMethod).toBe("spawn");
      if (forks) {
        expect(reason).toBe(
          `a TCP connection to 127.0.0.1:${port} is open (since the worker's module was loaded) and forked children would share it; open it in \`setup\``,
        );
      }
    },
  );

  test.each(forks ? ["client in preload", "pool in preload"] : ["pool in preload"])(
    "PostgreSQL, %s",
    async (when) => {
      server = await postgresServer();
      const { port } = server;
      const env = { FORKMAP_TEST_PORT: String(port), FORKMAP_TEST_WHEN: when };
      const keys = Array.from({ length: 8 }, (_, i) => `k${i}`);
      const { results, reason } = await run(new AsksPostgres(), keys, options, env);
      expect(results).toEqual(keys);
      if (forks) {
        expect(reason).toBe(
          `a TCP connection to 127.0.0.1:${port} is open (since \`preload\`) and forked children would share it; open it in \`setup\``,
        );
      }
    },
  );

  test("a worker that declares itself fork safe: its client sees the connection closed, and reconnects", async () => {
    server = await redisServer();
    const env = { FORKMAP_TEST_PORT: String(server.port), FORKMAP_TEST_WHEN: "in preload" };
    const keys = Array.from({ length: 16 }, (_, i) => `k${i}`);
    const { results, startMethod } = await run(new AsksRedisAnew(), keys, options, env);
    expect(results).toEqual(keys.map((key) => key.replace("k", "v")));
    expect(startMethod).toBe(forks ? "fork" : "spawn");
  });

  test("a connection that preload has just closed does not prevent a fork", async () => {
    const { results, startMethod, reason } = await run(new Closes(), ["a", "b"], options);
    expect(results).toEqual(["hello", "hello"]);
    expect({ startMethod, reason }).toEqual({
      startMethod: forks ? "fork" : "spawn",
      reason: undefined,
    });
  });

  test("a helper process that esbuild keeps", async () => {
    const numbers = Array.from({ length: 12 }, (_, i) => String(i));
    const { results, reason } = await run(new Transpiles(), numbers, options);
    expect(results).toEqual(numbers.map((n) => `const x = ${n};`));
    if (forks)
      expect(reason).toBe(
        "a child process `esbuild` is running and forked children would share it; start it in `setup`",
      );
  });

  test("work that the module has begun but not awaited", async () => {
    const kinds = ["scrypt", "gzip", "readFile", "exec"];
    const items = [...kinds, ...kinds];
    const { results, startMethod } = await run(new WorksInBackground(), items, options);
    expect(results.slice(0, 4)).toEqual(results.slice(4));
    expect(results[0]).toMatch(/^[0-9a-f]{16}$/);
    expect(results[2]).toBe("import { e");
    expect(results[3]).toBe("hello");
    expect(startMethod).toBe(forks ? "fork" : "spawn");
  });

  test("files: each child reads on from the module's position, and appends", async () => {
    const input = path.join(directory, "input");
    const output = path.join(directory, "output");
    writeFileSync(input, Array.from({ length: 100 }, (_, i) => `${1000 + i}\n`).join(""));
    const names = ["a", "b", "c", "d", "e", "f"];
    const { results, startMethod } = await run(
      new ReadsFiles(),
      names,
      { ...options, fibers: 1, maxItemsPerChild: 1 },
      { FORKMAP_TEST_READ: input, FORKMAP_TEST_WRITE: output },
    );
    expect(results.map(({ read }) => read)).toEqual(names.map(() => ["1001", "1000", "1002"]));
    // Close-on-exec, as Node opens them; O_APPEND for the second.
    const [reading, appending] = results[0]!.flags.map((flags) => Number.parseInt(flags, 8));
    expect([reading! & 0o2000000, appending! & 0o2000000]).toEqual([0o2000000, 0o2000000]);
    expect(appending! & 0o2000).toBe(0o2000);
    expect(readFileSync(output, "utf8").split("\n").toSorted().join("")).toBe("abcdef");
    expect(startMethod).toBe(forks ? "fork" : "spawn");
  });
});
