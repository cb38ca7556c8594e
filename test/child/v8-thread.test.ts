import { expect, it } from "vitest";
import { fixture, runScript } from "../run-script.js";

/** Before, V8 left its thread alone when told to use none. */
const isWoken = Number(process.versions.node.split(".")[0]) >= 26;

it.runIf(isWoken)(
  "V8's thread is asleep once it was waited for, as it must be for a fork",
  async () => {
    const ran = await runScript(fixture("programs/v8-thread.mjs"), {
      execArgv: ["--single-threaded", "--v8-pool-size=1", "--expose-gc"],
    });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    const atWork = JSON.parse(ran.stdout) as { after: number; waited: number };
    expect(atWork.waited).toBe(0);
    // Or there would have been nothing to wait for.
    expect(atWork.after).toBeGreaterThan(0);
  },
);
