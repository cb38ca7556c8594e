/** Runs the example of a leak as a user does: the compiled program, judged by what it prints. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test, vi } from "vitest";
import { descendants, scratchDirectories } from "./support/leftovers.js";
import { SOON } from "./support/soon.js";

const PROGRAM = fileURLToPath(new URL("../build/examples/leak.js", import.meta.url));

vi.setConfig({ testTimeout: 180_000 });

let program: ChildProcessWithoutNullStreams;

function start(...args: string[]): void {
  program = spawn(process.execPath, [PROGRAM, ...args]);
}

afterEach(async () => {
  if (program.exitCode === null && program.kill("SIGKILL")) await once(program, "close");
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  expect(scratchDirectories()).toEqual([]);
});

test("names the file, the function and the class of the leak, and the instance is replaced", async () => {
  start();
  const [stdout, stderr, [code]] = await Promise.all([
    text(program.stdout),
    text(program.stderr),
    once(program, "close"),
  ]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/file {7}\d+ % \S*offer-cache\.js\n/);
  expect(stdout).toMatch(/function {3}\d+ % Offer \(\S*offer-cache\.js:\d+\)\n/);
  expect(stdout).toMatch(/class {6}\d{3,} more of Offer\n/);
  expect(stdout).toMatch(
    /instance (\d) replaced: it has [\d.]+ MiB of memory \(PSS\), more than its limit of 80 MiB\n/,
  );
  expect(stdout).toMatch(/instance \d has [\d.]+ MiB now\n$/);
  expect(stderr).toContain("[FORKMAP_INSTANCE]");
  expect(stderr).not.toContain("raise the limit");
});

test("shows the page on request, until it is interrupted", async () => {
  start("--page");
  const stderr = text(program.stderr);
  const [line] = (await once(program.stdout.setEncoding("utf8"), "data")) as [string];
  const url = /^Open (http:\S+)\n$/.exec(line)?.[1];
  const response = await fetch(url!);
  expect({ status: response.status, body: await response.text() }).toEqual({
    status: 200,
    body: expect.stringContaining("<!doctype html>"),
  });
  const ended = once(program, "close");
  program.kill("SIGINT");
  expect(await ended).toEqual([0, null]);
  expect(await stderr).toBe("");
});
