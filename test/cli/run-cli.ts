/** Runs the command `forkmap` with its own temporary folder; a file or process that it leaves fails the test file. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, vi } from "vitest";
import { descendants } from "../support/leftovers.js";
import { outputOf, type Ran, startScript } from "../support/run-script.js";
import { SOON } from "../support/soon.js";

export const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
export const TEMPORARY = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-cli-"));

export function startCli(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return startScript(MAIN, { args, env: { TMPDIR: TEMPORARY, NO_COLOR: "", ...env } });
}

export async function runCli(args: readonly string[], env?: Record<string, string>): Promise<Ran> {
  return await outputOf(startCli(args, env));
}

afterAll(async () => {
  try {
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
    expect(readdirSync(TEMPORARY)).toEqual([]);
  } finally {
    for (const { pid } of descendants()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended in the meantime.
      }
    }
    rmSync(TEMPORARY, { recursive: true, force: true });
  }
});
