/**
 * Runs forkmap with real libraries: `node test/libraries/run.mjs [--items n] [name ...]`; a name is that of a file in workers/.
 *
 * Every library is used in two ways: only by `process` ("imported"), and also once in `preload` ("preload"). A library that
 * its module uses while loading has one row instead ("top level"). Each row shows how many items were right, wrong or
 * failed: with a forked child each, in a pool of two, and spawned. If forkmap spawns instead of forking, "how" says why.
 *
 * Exits with 1 if any result differs from the spawned one, is missing, or is an id that was returned before.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** For all attempts of one library; a run in which every call fails by its own time limit takes less. */
const LIBRARY_TIMEOUT_MS = 600_000;
const STDERR_LINES = 5;
/** The columns child, pool and spawn show how many items were right / wrong / failed. */
const HEADINGS = ["library", "version", "use", "child", "pool", "spawn", "ms per item", "how"];
/** A row is printed as soon as it is known, so the column widths are fixed and wide enough for any row. */
const WIDTHS = [20, 8, 9, 7, 7, 7, 18, 0];

const here = fileURLToPath(new URL(".", import.meta.url));
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { items: { type: "string", default: "16" } },
});
const all = readdirSync(join(here, "workers")).map((each) => each.replace(/\.mjs$/, ""));
const unknown = positionals.filter((each) => !all.includes(each));
if (unknown.length > 0) {
  console.error(
    `Expected names of files in workers/, got ${unknown.join(", ")}. There are: ${all.join(", ")}`,
  );
  process.exit(2);
}

prepare();
const results = mkdtempSync(join(tmpdir(), "forkmap-libraries-"));
let rows = 0;
const failures = [];
const skipped = [];
print(HEADINGS);
for (const name of positionals.length > 0 ? positionals : all) {
  await tryLibrary(name);
}
rmSync(results, { recursive: true });
for (const each of skipped) console.log(`not tried: ${each}`);
for (const each of failures) console.log(each);
const verdict = failures.length === 0 ? "all as spawned" : `${failures.length} differ from spawned`;
console.log(`\n${rows} rows on Node ${process.version}, ${flags.items} items each: ${verdict}`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Builds the package, and installs the libraries unless the versions of the lockfile are installed. */
function prepare() {
  run("npm", ["run", "--silent", "build"], join(here, "../.."));
  const lockfile = readFileSync(join(here, "package-lock.json"), "utf8");
  const installed = join(here, "node_modules/.installed-lockfile");
  if (existsSync(installed) && readFileSync(installed, "utf8") === lockfile) return;
  run("npm", ["ci", "--no-audit", "--no-fund"], here);
  writeFileSync(installed, lockfile);
}

function run(command, args, cwd) {
  const { status } = spawnSync(command, args, { cwd, stdio: ["ignore", 2, 2] });
  if (status !== 0) process.exit(2);
}

async function tryLibrary(name) {
  const file = join(results, `${name}.json`);
  const options = { cwd: here, stdio: ["ignore", "ignore", "pipe"], timeout: LIBRARY_TIMEOUT_MS };
  const program = spawn(process.execPath, ["try.mjs", name, flags.items, file], options);
  let stderr = "";
  program.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const [code, signal] = await once(program, "exit");
  const lines = stderr.trim().split("\n");
  if (existsSync(file)) {
    for (const row of JSON.parse(readFileSync(file, "utf8"))) report(row);
  } else if (isOptional(stderr)) {
    skipped.push(`${name}: ${lines.find((line) => line.includes("Error")) ?? lines[0]}`);
  } else {
    failures.push(
      `${name}: ended with ${signal ?? code}\n  ${lines.slice(-STDERR_LINES).join("\n  ")}`,
    );
  }
}

/** Whether a native library could not be compiled for this version of Node. */
function isOptional(stderr) {
  const { optionalDependencies } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
  return Object.keys(optionalDependencies).some((each) => stderr.includes(each));
}

function report({ library, version, use, ...attempts }) {
  const { child, pool, spawn } = attempts;
  const ms = [child, pool, spawn].map((each) => each?.ms.toPrecision(3) ?? "-").join(" / ");
  print([library, version, use, counts(child), counts(pool), counts(spawn), ms, how(child)]);
  rows += 1;
  for (const [mode, attempt] of Object.entries(attempts)) {
    if (!attempt || attempt.faults.length === 0) continue;
    const [first, ...others] = attempt.faults;
    const more = others.length > 0 ? ` (and ${others.length} more)` : "";
    failures.push(`${library}, ${use}, ${mode}: ${first}${more}`);
  }
}

function counts(attempt) {
  if (!attempt) return "-";
  return `${attempt.right}/${attempt.wrong}/${attempt.errors}`;
}

function how({ how, reason }) {
  if (how === "fork") return "forked";
  return how === "spawn" ? `spawned: ${reason}` : "not started";
}

function print(cells) {
  console.log(
    cells
      .map((cell, column) => cell.padEnd(WIDTHS[column]))
      .join("  ")
      .trimEnd(),
  );
}
