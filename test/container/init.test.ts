/** A program of a controller as the init (PID 1) of a container. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { Controlled } from "../support/controlled.js";
import { descendants, type Process } from "../support/leftovers.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const CAN_UNSHARE = spawnSync(UNSHARE[0]!, [...UNSHARE.slice(1), "true"]).status === 0;

/** The child of `unshare`. */
function initOf(program: Controlled): Process {
  return descendants().find(({ parent }) => parent === program.process.pid)!;
}

test.runIf(CAN_UNSHARE)(
  "reaps the zombies of others, and leaves its own children to Node",
  async () => {
    const orphanUntil = `${temporaryDirectory()}/until`;
    const program = await Controlled.ready({ orphanUntil, count: 2 }, { command: UNSHARE });
    const init = initOf(program);
    const childrenOfInit = () => descendants().filter(({ parent }) => parent === init.pid);
    const orphan = await vi.waitUntil(
      () => childrenOfInit().find(({ command }) => command.includes(orphanUntil)),
      SOON,
    );
    writeFileSync(orphanUntil, "");
    // Without anybody who reaps it, it would be a zombie as long as the container lives.
    await vi.waitFor(
      () => expect(childrenOfInit().map(({ pid }) => pid)).not.toContain(orphan.pid),
      SOON,
    );
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
