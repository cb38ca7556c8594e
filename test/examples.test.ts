/** Runs every example as a user does: the compiled program, in a process of its own, judged by its output and exit code. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const hasSha256sum = spawnSync("sha256sum", ["--version"]).status === 0;
/** Part of util-linux; runs a command on a terminal of its own. */
const hasScript = spawnSync("script", ["--version"]).status === 0;

interface Run {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

/** Node 22.18 and later run TypeScript by erasing its types. */
const stripsTypes = Boolean((process.features as { typescript?: unknown }).typescript);

/** The temporary folder of all programs that run here, so that leftovers are detected. */
let folder: string;
let server: Server;
let base: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "forkmap-test-examples-"));
  mkdirSync(path.join(folder, "tmp"));
  server = createServer((request, response) => {
    response.writeHead(request.url === "/ok" ? 200 : 404).end("body");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true, force: true });
});

function start(example: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return spawn(process.execPath, [path.join(ROOT, "build/examples", `${example}.js`), ...args], {
    cwd: folder,
    stdio: "pipe",
    env: { ...process.env, TMPDIR: path.join(folder, "tmp"), ...env },
  });
}

async function run(example: string, args: readonly string[], input = ""): Promise<Run> {
  const child = start(example, args);
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { stdout, stderr, code: code as number | null };
}

/** The probe's output on a terminal. */
async function onTerminal(noColor: string): Promise<string> {
  const program = path.join(ROOT, "build/examples/health-probe.js");
  const words = [process.execPath, program, `${base}/ok`, `${base}/no`];
  const child = spawn("script", ["-qec", words.map((word) => `'${word}'`).join(" "), "/dev/null"], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, NO_COLOR: noColor },
  });
  const [output] = await Promise.all([text(child.stdout), once(child, "close")]);
  return output;
}

/** Returns the output of sha256sum for a file in the tree. */
function lineOf(name: string): string {
  const content = readFileSync(path.join(folder, "tree", name));
  return `${createHash("sha256").update(content).digest("hex")}  tree/${name}\n`;
}

function usageError(message: string): Run {
  return { stdout: "", stderr: `${message}\n`, code: 2 };
}

describe("health-probe", () => {
  test("prints a table and exits 0 when all services are healthy", async () => {
    const { stdout, stderr, code } = await run("health-probe", [`${base}/ok`]);
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["URL", "STATUS", "MS", "ATTEMPTS"],
      [`${base}/ok`, "200", expect.stringMatching(/^\d+$/), "1"],
      [""],
    ]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });

  test("exits 1 when one service is not healthy, with one JSON object per line on request", async () => {
    const { stdout, stderr, code } = await run("health-probe", [
      "--json",
      "--retries",
      "1",
      `${base}/ok`,
      `${base}/no`,
    ]);
    const ms = expect.any(Number) as number;
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { url: `${base}/ok`, healthy: true, status: 200, problem: null, ms, attempts: 1 },
      { url: `${base}/no`, healthy: false, status: 404, problem: "404", ms, attempts: 2 },
    ]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 1 });
  });

  test("reads URLs from standard input", async () => {
    const { stdout, code } = await run(
      "health-probe",
      ["--json"],
      `# mine\n\n  ${base}/ok  \r\n${base}/ok`,
    );
    expect(stdout.match(/"healthy":true/g)).toHaveLength(2);
    expect(code).toBe(0);
  });

  test("reads URLs from a file, in addition to its arguments", async () => {
    writeFileSync(path.join(folder, "urls.txt"), `${base}/ok\n# no more\n`);
    const { stdout, code } = await run("health-probe", [
      "--file",
      "urls.txt",
      "--json",
      `${base}/no`,
    ]);
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as { status: number }).status),
    ).toEqual([404, 200]);
    expect(code).toBe(1);
  });

  test.each([
    [
      "a line that is no URL",
      [],
      "http://127.0.0.1/\n\nnot a url\n",
      "stdin line 3 is not an http or https URL: not a url",
    ],
    [
      "another scheme",
      ["ftp://127.0.0.1/"],
      "",
      "argument 1 is not an http or https URL: ftp://127.0.0.1/",
    ],
    ["nothing to do", [], "# nothing\n", "no URL given (see health-probe --help)"],
    ["an unknown option", ["--bogus"], "", "Unknown option '--bogus' (see health-probe --help)"],
    [
      "a bad number",
      ["--retries", "many"],
      "",
      '--retries must be a whole number from 0 to 1000000, got "many"',
    ],
    [
      "a file that is not there",
      ["--file", "none.txt"],
      "",
      "--file could not be read: ENOENT: no such file or directory, open 'none.txt'",
    ],
  ])("explains in one line what is wrong with %s", async (_, args, input, message) => {
    expect(await run("health-probe", args, input)).toEqual(usageError(`health-probe: ${message}`));
  });

  test("names the line of a file", async () => {
    writeFileSync(path.join(folder, "bad.txt"), `# first\n${base}/ok\nhttp://\n`);
    expect(await run("health-probe", ["--file", "bad.txt"])).toEqual(
      usageError("health-probe: bad.txt line 3 is not an http or https URL: http://"),
    );
  });

  test("answers --help and --version", async () => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as {
      version: string;
    };
    expect(await run("health-probe", ["--version"])).toEqual({
      stdout: `health-probe (forkmap) ${version}\n`,
      stderr: "",
      code: 0,
    });
    const help = await run("health-probe", ["--help"]);
    expect(help.stdout).toMatch(/^Usage: health-probe /);
    expect({ stderr: help.stderr, code: help.code }).toEqual({ stderr: "", code: 0 });
  });

  test("ends silently when its reader has gone", async () => {
    const child = start("health-probe", [`${base}/ok`]);
    child.stdin.end();
    child.stdout.destroy();
    const [stderr] = await Promise.all([text(child.stderr), once(child, "close")]);
    expect(stderr).toBe("");
  });

  test.skipIf(!hasScript)("colours the status on a terminal, but not with NO_COLOR", async () => {
    const coloured = await onTerminal("");
    expect(coloured).toContain("\x1b[32m200");
    expect(coloured).toContain("\x1b[31m404");
    expect(await onTerminal("1")).not.toContain("\x1b");
  });
});

describe("digest", () => {
  const NAMES = [
    "a.txt",
    "B.txt",
    "ünï cödé",
    "sub/deep/c",
    "sub/d",
    "line\nbreak",
    "back\\slash",
    "-dash",
    "empty",
  ];
  let tree: string;

  beforeAll(() => {
    tree = path.join(folder, "tree");
    mkdirSync(path.join(tree, "sub/deep"), { recursive: true });
    for (const name of NAMES)
      writeFileSync(path.join(tree, name), name === "empty" ? "" : `content of ${name}`);
    writeFileSync(path.join(tree, "large"), Buffer.alloc(5_000_000, 7));
  });

  test("prints every file below a folder with its SHA-256", async () => {
    const { stdout, stderr, code } = await run("digest", ["tree/sub", "tree/a.txt"]);
    expect(stdout).toBe(lineOf("sub/d") + lineOf("sub/deep/c") + lineOf("a.txt"));
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });

  test.skipIf(!hasSha256sum)("prints what sha256sum prints", async () => {
    const { stdout } = await run("digest", ["tree"]);
    const files = [...NAMES, "large"].map((name) => `tree/${name}`);
    const theirs = spawnSync("sha256sum", ["--", ...files], { cwd: folder, encoding: "utf8" });
    expect(stdout.split("\n").toSorted()).toEqual(theirs.stdout.split("\n").toSorted());
    const check = spawnSync("sha256sum", ["--check", "--quiet"], { cwd: folder, input: stdout });
    expect(check.status).toBe(0);
  });

  test("continues after a file that cannot be read, and exits 1", async () => {
    const secret = path.join(folder, "secret");
    writeFileSync(secret, "x");
    chmodSync(secret, 0);
    // Root can read any file, so the test uses a folder that does not exist.
    const [bad, why] =
      process.getuid?.() === 0
        ? ["none", "ENOENT: no such file or directory"]
        : ["secret", "EACCES: permission denied"];
    const { stdout, stderr, code } = await run("digest", [bad, "tree/a.txt"]);
    expect(stdout).toMatch(/^[0-9a-f]{64} {2}tree\/a\.txt\n$/);
    expect(stderr).toMatch(new RegExp(`^digest: ${bad}: ${why}, .*\n$`));
    expect(code).toBe(1);
  });

  test.skipIf(process.platform !== "linux")(
    "reports a file that fails while it is read",
    async () => {
      const { stdout, stderr, code } = await run("digest", ["/proc/self/mem", "tree/a.txt"]);
      expect(stdout).toMatch(/^[0-9a-f]{64} {2}tree\/a\.txt\n$/);
      expect({ stderr, code }).toEqual({
        stderr: "digest: /proc/self/mem: EIO: i/o error, read\n",
        code: 1,
      });
    },
  );

  test.each([
    ["no path", [], "no path given (see digest --help)"],
    ["an unknown option", ["--sha1", "x"], "Unknown option '--sha1' (see digest --help)"],
    [
      "a bad number",
      ["--concurrency", "0", "x"],
      '--concurrency must be a whole number from 1 to 1024, got "0"',
    ],
  ])("explains in one line what is wrong with %s", async (_, args, message) => {
    expect(await run("digest", args)).toEqual(usageError(`digest: ${message}`));
  });

  test("answers --help", async () => {
    const { stdout, stderr, code } = await run("digest", ["--help"]);
    expect(stdout).toMatch(/^Usage: digest /);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });
});

test("the demo reports every service correctly", async () => {
  const { stdout, stderr, code } = await run("demo", []);
  expect(stdout).toContain("9 of 9 are as expected\n");
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
}, 60_000);

test.skipIf(!stripsTypes)("the sources of the examples run without compilation", async () => {
  const program = path.join(ROOT, "examples/digest.ts");
  const child = spawn(process.execPath, [program, "tree/a.txt"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, "close")]);
  expect({ stdout, code: code as number }).toEqual({ stdout: lineOf("a.txt"), code: 0 });
});

test("no example leaves a file in the temporary folder", () => {
  expect(readdirSync(path.join(folder, "tmp"))).toEqual([]);
});
