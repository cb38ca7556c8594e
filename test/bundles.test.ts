/** Bundles of a program, made by bundlers with this package kept out, find the class as the program itself does. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import commonjs from "@rollup/plugin-commonjs";
import { build } from "esbuild";
import { rollup } from "rollup";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import webpack, { type Configuration } from "webpack";
import { runScript } from "./run-script.js";

const REPOSITORY = fileURLToPath(new URL("..", import.meta.url));
const NCC = createRequire(import.meta.url).resolve("@vercel/ncc/dist/ncc/cli.js");

/** The class uses variables of its module, as a function of it does, which a bundler makes those of a function. */
const WORKER = (head: string, tail: string) => `
${head}
const factor = 2;
let made = 0;
const table = new Map([[3, "three"]]);
function double(n) {
  return n * factor;
}
class Double extends JsonWorker {
  #label = path.basename("a/of");
  constructor() {
    super();
    made += 1;
  }
  process(n) {
    return [double(n), this.#label, made, table.get(n) ?? "", factor];
  }
}
${tail}`;
const MAIN = `
const parallel = new Parallel(new Double(), { startMethod: process.env.FORKMAP_TEST_START });
parallel
  .mapProcesses([1, 3])
  .catch((error) => error.name + ": " + error.message)
  .then((results) => console.log(JSON.stringify(results)));
`;
const RESULTS = '[[2,"of",1,"",2],[6,"of",1,"three",2]]\n';

const SOURCES = {
  "worker.mjs": WORKER(
    'import path from "node:path";\nimport { JsonWorker } from "forkmap";',
    "export { Double };",
  ),
  "main.mjs": `import { Parallel } from "forkmap";\nimport { Double } from "./worker.mjs";${MAIN}`,
  "worker.cjs": WORKER(
    'const path = require("node:path");\nconst { JsonWorker } = require("forkmap");',
    "module.exports = { Double };",
  ),
  "main.cjs": `const { Parallel } = require("forkmap");\nconst { Double } = require("./worker.cjs");${MAIN}`,
  "one.cjs": WORKER(
    'const path = require("node:path");\nconst { JsonWorker, Parallel } = require("forkmap");',
    MAIN,
  ),
};
type Source = keyof typeof SOURCES;

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "bundles-of-forkmap-"));
  for (const [name, text] of Object.entries(SOURCES)) {
    writeFileSync(path.join(directory, name), text);
  }
  mkdirSync(path.join(directory, "node_modules"));
  symlinkSync(REPOSITORY, path.join(directory, "node_modules/forkmap"));
});

afterAll(() => rmSync(directory, { recursive: true }));

const external = ["forkmap", /^node:/];

async function byEsbuild(
  source: Source,
  outfile: string,
  format: "esm" | "cjs",
  minify: boolean,
): Promise<string> {
  await build({
    entryPoints: [path.join(directory, source)],
    outfile,
    format,
    minify,
    bundle: true,
    platform: "node",
    external: ["forkmap"],
  });
  return outfile;
}

async function byRollup(source: Source, file: string): Promise<string> {
  const bundle = await rollup({
    input: path.join(directory, source),
    external,
    plugins: [commonjs({ ignore: ["forkmap"] })],
  });
  await bundle.write({ file, format: "cjs" });
  await bundle.close();
  return file;
}

async function byWebpack(source: Source, file: string, settings: Configuration): Promise<string> {
  const compiler = webpack({
    context: directory,
    entry: `./${source}`,
    target: "node20",
    output: { path: path.dirname(file), filename: path.basename(file) },
    externals: { forkmap: "commonjs forkmap" },
    ...settings,
  });
  await new Promise<void>((resolve, reject) => {
    compiler!.run((error, stats) => {
      if (error || stats?.hasErrors()) reject(error ?? new Error(stats!.toString()));
      else resolve();
    });
  });
  return file;
}

async function byNcc(source: Source, folder: string): Promise<string> {
  const input = path.join(directory, source);
  const { NODE_OPTIONS: _, ...env } = process.env;
  await promisify(execFile)(
    process.execPath,
    [NCC, "build", input, "-o", folder, "-e", "forkmap", "--no-cache"],
    { env, cwd: directory },
  );
  return path.join(folder, source.endsWith(".mjs") ? "index.mjs" : "index.cjs");
}

type Way = (source: Source, name: string) => Promise<string>;

const esbuildToEsm: Way = (source, name) => byEsbuild(source, `${name}.mjs`, "esm", false);
const esbuildToCjs: Way = (source, name) => byEsbuild(source, `${name}.cjs`, "cjs", false);
const esbuildMinified: Way = (source, name) => byEsbuild(source, `${name}.cjs`, "cjs", true);
const rollupWithCommonjs: Way = (source, name) => byRollup(source, `${name}.cjs`);
const webpackFor =
  (settings: Configuration): Way =>
  (source, name) =>
    byWebpack(source, `${name}.cjs`, settings);

describe.each<[name: string, way: Way, sources: readonly Source[]]>([
  ["esbuild to ESM", esbuildToEsm, ["main.mjs"]],
  ["esbuild to CommonJS", esbuildToCjs, ["main.mjs", "main.cjs", "one.cjs"]],
  ["esbuild, minified", esbuildMinified, ["main.cjs"]],
  ["rollup with its plugin for CommonJS", rollupWithCommonjs, ["main.mjs", "main.cjs"]],
  ["webpack, production", webpackFor({ mode: "production" }), ["main.mjs", "main.cjs", "one.cjs"]],
  ["webpack, mode none", webpackFor({ mode: "none" }), ["main.cjs"]],
  [
    "webpack, development with source maps",
    webpackFor({ mode: "development", devtool: "source-map" }),
    ["main.cjs"],
  ],
  ["ncc", byNcc, ["main.mjs", "main.cjs", "one.cjs"]],
])("a bundle by %s", (name, way, sources) => {
  test.each(sources)("of %s", async (source) => {
    const file = await way(
      source,
      path.join(directory, `${name.replaceAll(/\W+/g, "-")}-${source}`),
    );
    const starts = source === "main.cjs" ? ["fork", "spawn"] : ["fork"];
    const runs = starts.map((start) => runScript(file, { env: { FORKMAP_TEST_START: start } }));
    for (const ran of await Promise.all(runs)) {
      expect(ran).toMatchObject({ code: 0, stdout: RESULTS, stderr: "" });
    }
  });
});

test("webpack's eval is an error that says what to set", async () => {
  const file = path.join(directory, "eval.cjs");
  await byWebpack("main.cjs", file, { mode: "development" });
  const { stdout } = await runScript(file);
  expect(stdout).toMatch(/^"WorkerModuleError: Double is defined in webpack.* set `devtool`/);
});
