/** A program of a controller as the init (PID 1) of a container. */
import { spawnSync } from "node:child_process";
import { expect, test, vi } from "vitest";
import { Controlled } from "../support/controlled.js";
import { descendants, type Process } from "../support/leftovers.js";
import { SOON } from "../support/soon.js";

const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const CAN_UNSHARE = spawnSync(UNSHARE[0]!, [...UNSHARE.slice(1), "true"]).status === 0;

/** The child of `unshare`. */
function initOf(program: Controlled): Process {
  return descendants().find(({ parent }) => parent === program.process.pid)!;
}

test.runIf(CAN_UNSHARE)(
  "reaps the zombies of others, and leaves its own children to Node",
  async () => {
    const program = await Controlled.ready({ orphans: true, count: 2 }, { command: UNSHARE });
    const init = initOf(program);
    const zombies = () =>
      descendants().filter(({ parent, state }) => parent === init.pid && state === "Z");
    await vi.waitUntil(() => zombies().some(({ pid }) => pid !== init.pid), {
      ...SOON,
      interval: 5,
    });
    await vi.waitFor(() => expect(zombies()).toEqual([]), SOON);
    // Node has not been robbed of the exit codes of its own children.
    program.kill("SIGCONT");
    process.kill(init.pid, "SIGHUP");
    await program.until(() => program.count("2 of 2 instances ready") === 2);
    process.kill(init.pid, "SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.facts.at(-1)).toMatchObject({ container: "gone" });
  },
);

test.runIf(CAN_UNSHARE).each(["SIGTERM", "SIGINT"] as const)(
  "%s stops it, as it stops any program",
  async (signal) => {
    const program = await Controlled.ready({}, { command: UNSHARE });
    await program.all();
    process.kill(initOf(program).pid, signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.stderr).toContain("forkmap: Stopped\n");
  },
);
