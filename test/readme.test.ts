/**
 * Runs every example of the documentation: the ts and js blocks of README.md, docs/ and the @example tags in src. Each is
 * a complete program; comments behind its `console.log`s state its output. CONTRIBUTING.md has the rule.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import * as forkmap from "forkmap";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasRedis, type RedisServer, startRedis } from "./support/redis-server.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

const hasPython = spawnSync("python3", ["--version"]).status === 0;

interface Block {
  /** File and line, for a human reader. */
  readonly place: string;
  /** Folder that the blocks of one document share, so that one can import another. */
  readonly folder: string;
  /** Name of the program before it is compiled. */
  readonly file: string;
  readonly code: string;
}

const blocks = ["README.md", ...files("docs", ".md"), ...files("src", ".ts")].flatMap(blocksOf);
let folder: string;
let redis: RedisServer | undefined;
/** The compiler's messages; empty if there are none. */
let complaints: string;

function files(folder: string, extension: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(extension))
    .map((file) => path.join(folder, file))
    .toSorted();
}

function blocksOf(document: string): Block[] {
  const content = readFileSync(path.join(ROOT, document), "utf8");
  // In sources only the TSDoc comments, without the leading stars.
  const lines = content
    .split("\n")
    .map((line) => (document.endsWith(".ts") ? (/^\s*\* ?(.*)/.exec(line)?.[1] ?? "") : line));
  const found: Block[] = [];
  for (const [start, line] of lines.entries()) {
    const language = /^```(ts|js)$/.exec(line)?.[1];
    if (!language) continue;
    const end = lines.indexOf("```", start);
    const code = lines.slice(start + 1, end).join("\n");
    const isCommonJs = language === "js" && code.includes("require(");
    const name =
      /^\/\/ ([\w-]+\.[tj]s)\n/.exec(code)?.[1] ??
      `line-${start + 1}.${isCommonJs ? "cjs" : language}`;
    found.push({
      place: `${document}:${start + 1}`,
      folder: document.replaceAll(/\W/g, "-"),
      file: name,
      code,
    });
  }
  return found;
}

/** One line for each `console.log(...); // output`, in the order of the text. */
function expectedOutput(code: string): string {
  return [...code.matchAll(/^ *console\.log\(.*\); \/\/ (.*)$/gm)]
    .map((match) => `${match[1]}\n`)
    .join("");
}

beforeAll(async () => {
  if (hasRedis) redis = await startRedis();
  folder = mkdtempSync(path.join(tmpdir(), "forkmap-test-readme-"));
  mkdirSync(path.join(folder, "tmp"));
  mkdirSync(path.join(folder, "node_modules"));
  symlinkSync(ROOT, path.join(folder, "node_modules/forkmap"));
  for (const name of ["@types", "bullmq", "ioredis"]) {
    symlinkSync(path.join(ROOT, "node_modules", name), path.join(folder, "node_modules", name));
  }
  writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module" }));
  const compilerOptions = {
    target: "esnext",
    lib: ["es2024", "esnext.disposable"],
    module: "nodenext",
    types: ["node"],
    strict: true,
    noUncheckedIndexedAccess: true,
    erasableSyntaxOnly: true,
    moduleDetection: "force",
    skipLibCheck: true,
  };
  writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  for (const block of blocks) {
    mkdirSync(path.join(folder, block.folder), { recursive: true });
    writeFileSync(path.join(folder, block.folder, block.file), block.code);
  }
  complaints = compile();
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the examples of the documentation", () => {
  test("exist", () => {
    const documents = new Set(blocks.map(({ place }) => place.replace(/[/:].*/, "")));
    expect([...documents]).toEqual(["README.md", "docs", "src"]);
  });

  test("are correctly typed, and compile", () => {
    expect(complaints).toBe("");
  });

  test.for(blocks)("$place prints as stated", async ({ folder: inside, file, code }, { skip }) => {
    skip(code.includes('"python3"') && !hasPython, "python3 is not installed");
    skip(code.includes('"forkmap/bullmq"') && !redis, "there is no server of Redis");
    const child = spawn(process.execPath, [file.replace(/\.ts$/, ".js")], {
      cwd: path.join(folder, inside),
      stdio: ["ignore", "pipe", "pipe"],
      // A controller tells its news there, not on stderr.
      env: {
        ...process.env,
        TMPDIR: path.join(folder, "tmp"),
        NOTIFY_LOG: "/dev/null",
        ...(redis ? { FORKMAP_CONNECTION: redis.url } : {}),
      },
    });
    const [stdout, stderr, [exitCode]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close"),
    ]);
    expect({ stdout, stderr, exitCode: exitCode as number }).toEqual({
      stdout: expectedOutput(code),
      stderr: "",
      exitCode: 0,
    });
  });

  test("leave no file in the temporary folder", () => {
    expect(readdirSync(path.join(folder, "tmp"))).toEqual([]);
  });
});

/** Compiles all blocks together. */
function compile(): string {
  const tsc = path.join(ROOT, "node_modules/typescript/bin/tsc");
  try {
    execFileSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8", stdio: "pipe" });
    return "";
  } catch (error) {
    return (error as { stdout: string }).stdout || String(error);
  }
}

describe("the README", () => {
  const readme = readFileSync(path.join(ROOT, "README.md"), "utf8");
  /** The first cells of all tables, without arguments: `onStart(item, index)` becomes onStart. */
  const named = new Set(
    Array.from(readme.matchAll(/^\| (`[^|]+)\|/gm), ([, cell]) =>
      Array.from(cell!.matchAll(/`(\w+)/g), (match) => match[1]),
    ).flat(),
  );

  test("lists every option", () => {
    let known = "";
    try {
      const options: object = { nonsense: 1 };
      void new forkmap.Parallel(new Shout(), options);
    } catch (error) {
      known = (error as TypeError).message.replace(/.*There are: /, "");
    }
    expect(known).toContain("concurrency");
    expect(known.split(", ").filter((option) => !named.has(option))).toEqual([]);
  });

  test("lists every error with its code", () => {
    const classes = Object.values(forkmap).filter(
      (value) => typeof value === "function" && value.prototype instanceof forkmap.ParallelError,
    );
    expect(classes.length).toBeGreaterThan(5);
    expect(classes.map(({ name }) => name).filter((name) => !named.has(name))).toEqual([]);
    const sources = readFileSync(path.join(ROOT, "src/errors.ts"), "utf8");
    const codes = sources.match(/ERR_PARALLEL_[A-Z_]+/g)!;
    expect(codes.filter((code) => !readme.includes(`\`${code}\``))).toEqual([]);
  });

  test("is short", () => {
    expect(readme.split("\n").length).toBeLessThanOrEqual(300);
  });
});

class Shout extends forkmap.ParallelWorker {
  override process(word: string): string {
    return word.toUpperCase();
  }
}
