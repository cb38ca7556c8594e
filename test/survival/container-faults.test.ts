/**
 * A container whose instances fail in every way there is: killed, crashed, frozen, leaking, deaf to signals, failing to start, never ready, closing their
 * channel. The wanted size is back each time, with the same nums, and at the end nothing is left. FORKMAP_FAULT_SECONDS sets how long (five minutes
 * before a release), FORKMAP_FAULT_SEED the order.
 */
import { once } from "node:events";
import { mkdirSync, readdirSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { descendants } from "../support/leftovers.js";
import { fixture, outputOf, startScript } from "../support/run-script.js";
import { PROMISED, SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const SECONDS = Number(process.env["FORKMAP_FAULT_SECONDS"] ?? 5);
const SEED = Number(process.env["FORKMAP_FAULT_SEED"] ?? Date.now() % 100_000);
/** Each fault once takes some 15 s, more on a busy machine. */
const TIMEOUT_MS = 1000 * SECONDS + 120_000;

describe.each(["fork", "spawn"])("a container of instances by %s", (startMethod) => {
  test(
    `survives every fault of its instances (seed ${SEED})`,
    { timeout: TIMEOUT_MS },
    async () => {
      const { program, folder } = start(startMethod, SECONDS);
      const { code, stdout, stderr } = await outputOf(program);
      expect(stdout.match(/^done (.*)$/m), `${stdout}\n${stderr}`).not.toBeNull();
      expect(code).toBe(0);
      const { faults, failures, longestPause } = JSON.parse(
        /^done (.*)$/m.exec(stdout)![1]!,
      ) as Record<string, number>;
      expect(faults).toBeGreaterThanOrEqual(15);
      expect(failures).toBeGreaterThanOrEqual(13);
      // The first pause is at most 50 ms: what fails again and again waits longer each time.
      expect(longestPause).toBeGreaterThan(50);
      await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test("leaves nothing behind if its program is killed in the middle", async () => {
    const { program, folder } = start(startMethod, 60);
    const [ready] = (await once(program.stdout!, "data")) as [Buffer];
    const [, port] = /^ready \d+ (\d+)/.exec(String(ready))!;
    expect(await connects(Number(port))).toBe(true);
    program.kill("SIGKILL");
    await vi.waitFor(async () => {
      expect(descendants()).toEqual([]);
      expect(readdirSync(folder)).toEqual([]);
      expect(await connects(Number(port))).toBe(false);
    }, PROMISED);
  });
});

function start(startMethod: string, seconds: number) {
  const root = temporaryDirectory();
  const folder = path.join(root, "tmp");
  const flags = path.join(root, "flags");
  mkdirSync(folder);
  mkdirSync(flags);
  const program = startScript(fixture("faults-run.mjs"), {
    args: [startMethod, String(seconds), flags, String(SEED)],
    env: { TMPDIR: folder },
  });
  return { program, folder };
}

async function connects(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
