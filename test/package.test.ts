/** The published package: packed, installed into an empty folder, and used from JavaScript and TypeScript. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runScript } from "./support/run-script.js";

const run = promisify(execFile);
const REPOSITORY = fileURLToPath(new URL("..", import.meta.url));
const CAN_FORK =
  process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");

function read(file: string): string {
  return readFileSync(path.join(REPOSITORY, file), "utf8");
}

const ESM = `
import { Parallel, ParallelWorker } from "forkmap";

class Shout extends ParallelWorker {
  process(word) {
    return word.toUpperCase();
  }
}

const parallel = new Parallel(new Shout());
const words = await parallel.mapProcesses(["a", "b"]);
const { startMethod, reason } = parallel.stats();
console.log(JSON.stringify({ words, startMethod, reason }));
`;

const COMMON_JS = `
const { Parallel, ParallelWorker } = require("forkmap");

class Shout extends ParallelWorker {
  process(word) {
    return word.toUpperCase();
  }
}

const parallel = new Parallel(new Shout());
parallel.mapProcesses(["a", "b"]).then((words) => {
  const { startMethod, reason } = parallel.stats();
  console.log(JSON.stringify({ words, startMethod, reason }));
});
`;

const TYPESCRIPT = `
import { ItemError, JsonWorker, Parallel, ParallelWorker, type FinishInfo, type TaskContext } from "forkmap";
import type { Container } from "forkmap/container";
import type { MemorySample, SupervisionState, Supervisor, SupervisorClient } from "forkmap/supervisor";

export function watch(container: Container, supervisor: Supervisor, client: SupervisorClient): AsyncIterable<SupervisionState> {
  container.spawn(supervisor, { restart: "always" });
  return client.watch();
}
export async function classes(client: SupervisorClient): Promise<string[] | undefined> {
  const { retained } = (await client.call({ do: "memory_sample" }, { num: 1 })) as MemorySample;
  return retained.classes?.top.map(({ name }) => name);
}

export class Measure extends JsonWorker<{ word: string }, { length: number; index: number }> {
  process({ word }: { word: string }, { index }: TaskContext): { length: number; index: number } {
    return { length: word.length, index };
  }
}

class Bytes extends ParallelWorker<number, Uint8Array> {
  async process(n: number): Promise<Uint8Array> {
    return new Uint8Array(n);
  }
}

const pids: number[] = [];
const parallel = new Parallel(new Measure(), { timeout: 60_000 });
const byteMaker = new Parallel(new Bytes());
const sizes: { length: number; index: number }[] = await parallel.mapProcesses([{ word: "one" }], {
  onFinish: (_item, _index, _result, { pid }: FinishInfo) => pids.push(pid),
});
const bytes: Uint8Array[] = await byteMaker.mapProcesses([3]);
// @ts-expect-error -- the items of this worker have a text
const wrong = parallel.mapSettled([{ word: 1 }]).catch((error: unknown) => error instanceof ItemError);
await wrong;
console.log(JSON.stringify({ sizes, bytes: bytes[0]?.length, pids: pids.length }));
`;

/** Without prom-client, which is optional, too. */
const SUPERVISED = `
import { Container, Service } from "forkmap/container";
import { Supervisor, SupervisorClient } from "forkmap/supervisor";

export class Web extends Service {
  async run(instance) {
    instance.ready();
    await new Promise((resolve) => instance.signal.addEventListener("abort", resolve));
  }
}

const container = new Container();
const supervisor = new Supervisor();
container.spawn(supervisor, { restart: "always" });
container.run(new Web(), { count: 1, name: "web", supervised: true });
await container.waitUntilReady();
const client = await SupervisorClient.connect(supervisor.directory);
const { version } = await client.call({ do: "status" }, { num: 1 });
const metrics = await client.call({ do: "metrics" }).catch((error) => error.message);
const dashboard = await client.dashboard();
const page = await fetch(dashboard.url);
const cookie = page.headers.get("set-cookie").split(";")[0];
const files = (await page.text()).match(/(?<=(?:src|href)=")[\\w.-]+(?=")/g);
const statuses = [];
for (const file of files) {
  const { status } = await fetch(new URL(file, dashboard.url), { headers: { cookie } });
  statuses.push(status);
}
await dashboard.close();
await client.close();
await container.stop();
console.log(JSON.stringify({ version, metrics, files, statuses }));
`;

const TSCONFIG = {
  compilerOptions: {
    target: "es2022",
    lib: ["es2023", "esnext.disposable"],
    module: "nodenext",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    types: ["node"],
    typeRoots: [path.join(REPOSITORY, "node_modules/@types")],
    outDir: "out",
  },
  files: ["program.mts"],
};

describe("the packed package", { timeout: 180_000 }, () => {
  let root: string;
  let tarball: string;
  /** The files that it contains. */
  let files: string[];

  beforeAll(async () => {
    root = mkdtempSync(path.join(tmpdir(), "forkmap-package-"));
    const flags = ["--json", "--ignore-scripts", "--pack-destination", root];
    const { stdout } = await run("npm", ["pack", ...flags], { cwd: REPOSITORY });
    const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
    tarball = path.join(root, packed!.filename);
    files = packed!.files.map((each) => each.path);
  }, 60_000);
  afterAll(() => {
    rmSync(root, { recursive: true, force: true });
  });

  async function install(...flags: string[]): Promise<string> {
    const directory = mkdtempSync(path.join(root, "install-"));
    writeFileSync(path.join(directory, "package.json"), '{ "private": true }');
    await run(
      "npm",
      ["install", "--prefer-offline", "--no-audit", "--no-fund", ...flags, tarball],
      { cwd: directory },
    );
    return directory;
  }

  async function output(directory: string, name: string, text: string) {
    const file = path.join(directory, name);
    writeFileSync(file, text);
    const { stdout, stderr, code } = await runScript(file, { cwd: directory });
    expect(code, stderr).toBe(0);
    return { printed: JSON.parse(stdout) as Record<string, unknown>, stderr };
  }

  test("contains the build and no other files of the repository", () => {
    expect(files).toContain("dist/index.js");
    expect(files).toContain("dist/index.d.ts");
    expect(files).toContain("dist/child/fork-server.js");
    for (const entry of ["container", "supervisor"]) {
      expect(files).toContain(`dist/${entry}/index.js`);
      expect(files).toContain(`dist/${entry}/index.d.ts`);
    }
    expect(files).toContain("dist/supervisor/page/index.html");
    expect(files).toContain("dist/supervisor/page/uPlot.iife.min.js");
    expect(files).toContain("examples/workers/offer-cache.ts");
    const own =
      /^(package\.json|LICENSE|CHANGELOG\.md|(bench\/)?README\.md|(dist|docs|examples)\/.*)$/;
    expect(files.filter((each) => !own.test(each))).toEqual([]);
    // The separate modules that the chunks consist of.
    expect(files).not.toContain("dist/wire/ledger.js");
    expect(files).toContain("dist/wire/ledger.d.ts");
  });

  test("is loaded as three files, and keeps the comments and names of its source", () => {
    const loaded = new Set<string>();
    const load = (file: string) => {
      if (loaded.has(file)) return;
      loaded.add(file);
      for (const [, name] of read(file).matchAll(/^(?:import|export) .* from '(\.[^']+)';$/gm))
        load(path.join(path.dirname(file), name!));
    };
    load("dist/index.js");
    const chunks = [...loaded].filter((file) => file !== "dist/index.js");
    expect(chunks.toSorted()).toEqual(["dist/chunks/base.js", "dist/chunks/parallel.js"]);
    expect(read("dist/chunks/parallel.js")).toContain("\nclass Scheduler {");
    expect(read("dist/chunks/parallel.js")).toContain("* @remarks");
  });

  test("contains the files that its documents link to", () => {
    const documents = files.filter((each) => each.endsWith(".md"));
    expect(documents.length).toBeGreaterThan(5);
    for (const document of documents) {
      const text = readFileSync(path.join(REPOSITORY, document), "utf8");
      for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
        const target = path.join(path.dirname(document), link!).replace(/\/$/, "");
        const isThere = files.some((each) => each === target || each.startsWith(`${target}/`));
        expect(isThere, `${document} links to ${link}`).toBe(true);
      }
    }
  });

  test("has no script that an installation would run", () => {
    const { scripts } = JSON.parse(readFileSync(path.join(REPOSITORY, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    for (const name of ["preinstall", "install", "postinstall", "prepare"])
      expect(scripts).not.toHaveProperty(name);
  });

  describe("installed", () => {
    let directory: string;
    beforeAll(async () => {
      directory = await install();
    }, 120_000);

    test.runIf(CAN_FORK)(
      "forks from an ES module and from CommonJS, without a warning",
      async () => {
        const expected = { words: ["A", "B"], startMethod: "fork" };
        const esm = await output(directory, "program.mjs", ESM);
        expect(esm).toEqual({ printed: expected, stderr: "" });
        const commonJs = await output(directory, "program.cjs", COMMON_JS);
        expect(commonJs.printed).toEqual(expected);
        // On Node 20, require() of an ES module only causes an experimental warning.
        if (!process.version.startsWith("v20.")) expect(commonJs.stderr).toBe("");
      },
    );

    test("has a supervisor, its page, and metrics", async () => {
      const { printed, stderr } = await output(directory, "supervised.mjs", SUPERVISED);
      const files = printed["files"] as string[];
      expect(files).toContain("page.js");
      expect(printed).toEqual({
        version: process.version,
        metrics: expect.stringContaining('forkmap_instances{state="ready",name="web"} 1'),
        files,
        statuses: files.map(() => 200),
      });
      expect(stderr).toBe("");
    });

    test("has a command", async () => {
      const command = path.join(directory, "node_modules/.bin/forkmap");
      expect((await run(command, ["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
      const checked = await run(command, ["conform", "--item", "1", "--", "cat"]).catch(
        (error: unknown) => error,
      );
      expect(checked).toMatchObject({ code: 1, stderr: "" });
      expect(checked).toHaveProperty("stdout", expect.stringContaining("it sent the request back"));
    });

    test("type-checks and runs from TypeScript", async () => {
      writeFileSync(path.join(directory, "program.mts"), TYPESCRIPT);
      writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(TSCONFIG));
      const tsc = path.join(REPOSITORY, "node_modules/typescript/bin/tsc");
      await run(process.execPath, [tsc, "-p", directory]).catch(({ stdout }: { stdout: string }) =>
        expect.fail(stdout),
      );
      const { printed } = await output(
        directory,
        "run.mjs",
        readFileSync(path.join(directory, "out/program.mjs"), "utf8"),
      );
      expect(printed).toEqual({ sizes: [{ length: 3, index: 0 }], bytes: 3, pids: 1 });
    });
  });

  test("spawns without the optional dependency, and gives the reason", async () => {
    const directory = await install("--omit=optional");
    expect(readdirSync(path.join(directory, "node_modules"))).not.toContain("koffi");
    const { printed, stderr } = await output(directory, "program.mjs", ESM);
    expect(printed).toMatchObject({ words: ["A", "B"], startMethod: "spawn" });
    expect(printed["reason"]).toMatch(/koffi/);
    expect(stderr).toContain(
      "ForkmapWarning: Children are spawned, not forked: the optional dependency koffi",
    );
    const supervised = await output(directory, "supervised.mjs", SUPERVISED);
    expect(supervised.printed).toMatchObject({
      version: process.version,
      metrics: expect.stringContaining("npm install prom-client"),
    });
  });
});
