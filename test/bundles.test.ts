/** Bundles of a program, with this package kept out, find the worker's class or function as the program itself does. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import rollupCommonjs from "@rollup/plugin-commonjs";
import { build } from "esbuild";
import { rollup } from "rollup";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import webpack, { type Configuration } from "webpack";
import { runScript } from "./support/run-script.js";

const REPOSITORY = fileURLToPath(new URL("..", import.meta.url));
const NCC = createRequire(import.meta.url).resolve("@vercel/ncc/dist/ncc/cli.js");

/** The worker and a function that it calls use variables of the module, which a bundler moves into a function. */
const MODULE = (head: string, tail: string) => `
${head}
const factor = 2;
let made = 0;
const table = new Map([[3, "three"]]);
function double(n) {
  return n * factor;
}
${tail}`;
const CLASS = `
class Double extends JsonWorker {
  #label = path.basename("a/of");
  constructor() {
    super();
    made += 1;
  }
  process(n) {
    return [double(n), this.#label, made, table.get(n) ?? "", factor];
  }
}`;
const FUNCTION = `
made += 1;
async function twice(n) {
  return [double(n), path.basename("a/of"), made, table.get(n) ?? "", factor];
}`;
const MAIN = (given: string) => `
const parallel = new Parallel(${given}, { startMethod: process.env.FORKMAP_TEST_START });
parallel
  .mapProcesses([1, 3])
  .catch((error) => error.name + ": " + error.message)
  .then((results) => console.log(JSON.stringify(results)));
`;
const RESULTS = '[[2,"of",1,"",2],[6,"of",1,"three",2]]\n';

const OF_MODULES = 'import path from "node:path";\nimport { JsonWorker } from "forkmap";';
const OF_COMMONJS =
  'const path = require("node:path");\nconst { JsonWorker, Parallel } = require("forkmap");';
const FROM = (name: string, file: string) =>
  file.endsWith(".mjs")
    ? `import { Parallel } from "forkmap";\nimport { ${name} } from "./${file}";`
    : `const { Parallel } = require("forkmap");\nconst { ${name} } = require("./${file}");`;

const SOURCES = {
  "worker.mjs": MODULE(OF_MODULES, `${CLASS}\nexport { Double };`),
  "main.mjs": FROM("Double", "worker.mjs") + MAIN("new Double()"),
  "worker.cjs": MODULE(OF_COMMONJS, `${CLASS}\nmodule.exports = { Double };`),
  "main.cjs": FROM("Double", "worker.cjs") + MAIN("new Double()"),
  "one.cjs": MODULE(OF_COMMONJS, CLASS + MAIN("new Double()")),
  "function.mjs": MODULE('import path from "node:path";', `${FUNCTION}\nexport { twice };`),
  "main-of-function.mjs": FROM("twice", "function.mjs") + MAIN("twice"),
  "function.cjs": MODULE(
    'const path = require("node:path");',
    `${FUNCTION}\nmodule.exports = { twice };`,
  ),
  "main-of-function.cjs": FROM("twice", "function.cjs") + MAIN("twice"),
  "one-of-function.cjs": MODULE(OF_COMMONJS, FUNCTION + MAIN("twice")),
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

// Its types declare a default export; under Node the import is the function itself.
const commonjs = rollupCommonjs as unknown as typeof rollupCommonjs.default;
const external = ["forkmap", /^node:/];

async function byEsbuild(
  source: string,
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
    logLevel: "error",
    external: source.startsWith("with-") ? ["koffi", "ora"] : ["forkmap"],
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

async function byWebpack(source: string, file: string, settings: Configuration): Promise<string> {
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
  const ofFunctions = sources.map((source) => source.replace(".", "-of-function.") as Source);

  test.each([...sources, ...ofFunctions])("of %s", async (source) => {
    const file = await way(
      source,
      path.join(directory, `${name.replaceAll(/\W+/g, "-")}-${source}`),
    );
    const starts =
      source.startsWith("main") && source.endsWith(".cjs") ? ["fork", "spawn"] : ["fork"];
    const runs = starts.map((start) => runScript(file, { env: { FORKMAP_TEST_START: start } }));
    for (const ran of await Promise.all(runs)) {
      expect(ran).toMatchObject({ code: 0, stdout: RESULTS, stderr: "" });
    }
  });
});

test("webpack's eval is an error that says which setting to use", async () => {
  const file = path.join(directory, "eval.cjs");
  await byWebpack("main.cjs", file, { mode: "development" });
  const { stdout } = await runScript(file);
  expect(stdout).toMatch(/^"WorkerModuleError: Double is defined in webpack.* set `devtool`/);
});

test("a bundle that contains this package is refused with advice to keep it external", async () => {
  // As deployed: without the package, whose path webpack writes into the bundle.
  const copy = path.join(directory, "forkmap-copy");
  cpSync(path.join(REPOSITORY, "dist"), copy, { recursive: true });
  symlinkSync(path.join(REPOSITORY, "node_modules"), path.join(copy, "node_modules"));
  const main = `import { JsonWorker, Parallel } from "./forkmap-copy/index.js";
    class Square extends JsonWorker { process(n) { return n * n; } }
    const parallel = new Parallel(new Square());
    for (const verb of ["mapProcesses", "mapThreads"]) {
      parallel[verb]([1]).then(console.log, (error) => console.log(error.name + ": " + error.message));
    }`;
  writeFileSync(path.join(directory, "with-forkmap.mjs"), main);
  writeFileSync(path.join(copy, "package.json"), '{ "type": "module", "version": "0.0.0" }');
  const files = await Promise.all([
    byEsbuild("with-forkmap.mjs", path.join(directory, "in/esbuild.mjs"), "esm", false),
    byEsbuild("with-forkmap.mjs", path.join(directory, "in/esbuild.cjs"), "cjs", true),
    byWebpack("with-forkmap.mjs", path.join(directory, "in/webpack.cjs"), {
      mode: "none",
      externals: { koffi: "commonjs koffi", ora: "commonjs ora" },
    }),
  ]);
  rmSync(copy, { recursive: true });
  for (const file of files) {
    const { stdout, stderr } = await runScript(file);
    expect(stdout, stderr).toMatch(
      /^(LaunchError: forkmap has been bundled into the program.* keep it out.*\n){2}$/,
    );
  }
});

test("decorators compiled by tsc put the class into a function: its export is used", async () => {
  writeFileSync(path.join(directory, "package.json"), '{ "type": "module" }');
  const worker = `import { JsonWorker } from "forkmap";
    const seen: string[] = [];
    function logged(value: unknown, context: { name: string | symbol | undefined }): void {
      seen.push(String(context.name));
    }
    @logged
    export class Decorated extends JsonWorker<number, [number, string]> {
      @logged
      process(n: number): [number, string] {
        return [n * n, seen.join()];
      }
    }
    @logged
    export class Other extends JsonWorker<number, number> {
      process(n: number): number {
        return n;
      }
    }`;
  const main = `import { Parallel } from "forkmap";
    import { Decorated } from "./decorated.js";
    const startMethod = process.env["FORKMAP_TEST_START"] as "fork";
    console.log(JSON.stringify(await new Parallel(new Decorated(), { startMethod }).mapProcesses([3])));`;
  writeFileSync(path.join(directory, "decorated.ts"), worker);
  writeFileSync(path.join(directory, "decorators.ts"), main);
  const tsc = path.join(REPOSITORY, "node_modules/typescript/bin/tsc");
  const options = [
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--types",
    "node",
    "--skipLibCheck",
  ];
  const types = ["--typeRoots", path.join(REPOSITORY, "node_modules/@types")];
  const args = [tsc, ...options, ...types, "decorators.ts", "--ignoreConfig"];
  await promisify(execFile)(process.execPath, args, { cwd: directory });
  for (const start of ["fork", "spawn"]) {
    const env = { FORKMAP_TEST_START: start };
    const ran = await runScript(path.join(directory, "decorators.js"), { env });
    expect(ran).toMatchObject({ stdout: '[[9,"process,Decorated,Other"]]\n', stderr: "" });
  }
});
