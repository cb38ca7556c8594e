/** The examples of deployment: systemd accepts the unit, and the command lines in all of them are those of `forkmap serve`. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { readArguments } from "../src/cli/serve/serve-arguments.js";

const FOLDER = fileURLToPath(new URL("../examples/deploy", import.meta.url));
const PROGRAM = "node_modules/.bin/forkmap";
/** The ms after which jobs that still run are given back. */
const STOP_TIMEOUT_MS = 30_000;

const [unit, containerfile, compose] = [
  "forkmap-serve.service",
  "Containerfile",
  "compose.yaml",
].map((name) => readFileSync(path.join(FOLDER, name), "utf8")) as [string, string, string];

function setting(name: string): string {
  return new RegExp(`^${name}=(.*)$`, "m").exec(unit)![1]!;
}

it.skipIf(spawnSync("systemd-analyze", ["--version"]).error)("systemd accepts the unit", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-deploy-"));
  try {
    const file = path.join(folder, "forkmap-serve.service");
    // It looks whether the program is there.
    writeFileSync(file, unit.replaceAll(`/srv/app/${PROGRAM}`, process.execPath));
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", file], {
      encoding: "utf8",
    });
    const own = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("forkmap-serve"));
    expect(own).toEqual([]);
    expect(status).toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it("the unit lets jobs end: the signal is for the main process, and the time is longer", () => {
  expect(setting("Type")).toBe("notify");
  expect(setting("KillMode")).toBe("mixed");
  expect(setting("KillSignal")).toBe("SIGTERM");
  expect(Number(setting("TimeoutStopSec")) * 1000).toBeGreaterThan(STOP_TIMEOUT_MS);
  const [program, command, ...args] = setting("ExecStart").split(" ");
  expect([program, command]).toEqual([`${setting("WorkingDirectory")}/${PROGRAM}`, "serve"]);
  expect(readArguments(args)).toMatchObject({
    modules: ["workers.js"],
    health: { host: "127.0.0.1", port: 8080 },
  });
});

it("the container runs the program itself, and asks for its health where it answers", () => {
  const last = /^CMD (\[.*\])$/m.exec(containerfile)![1]!;
  const [program, command, ...args] = JSON.parse(last) as string[];
  expect([program, command]).toEqual([PROGRAM, "serve"]);
  const { modules, health } = readArguments(args);
  expect(health).toEqual({ host: "0.0.0.0", port: 8080 });
  expect(containerfile).toContain(`COPY package.json ${modules[0]} ./`);
  expect(containerfile).toContain(`http://127.0.0.1:${health!.port}/health`);
  expect(containerfile).toContain(`EXPOSE ${health!.port}`);
});

it("the server of the composition keeps its keys, and jobs have time to end", () => {
  expect(compose).toContain('"--maxmemory-policy", "noeviction"');
  expect(compose).toContain('"--appendonly", "yes"');
  const seconds = Number(/stop_grace_period: (\d+)s/.exec(compose)![1]);
  expect(seconds * 1000).toBeGreaterThan(STOP_TIMEOUT_MS);
});
