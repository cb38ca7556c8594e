/** A `Parallel` without references ends its processes, however it was used; one with a call under way does not. */
import { expect, it } from "vitest";
import { fixture, runScript } from "../support/run-script.js";

it("ends its processes once it is garbage collected", async () => {
  const ran = await runScript(fixture("dropped.mjs"), { execArgv: ["--expose-gc"] });
  expect(ran).toMatchObject({ code: 0, stderr: "" });
  const { "under way": results, ...ways } = JSON.parse(ran.stdout) as Record<string, unknown>;
  expect(results).toEqual(["300", "1", "2"]);
  for (const [name, [wereThere, stay]] of Object.entries(ways) as [string, [boolean, number]][]) {
    expect(wereThere, name).toBe(true);
    expect(stay, name).toBe(0);
  }
  expect(Object.keys(ways).length).toBeGreaterThan(10);
});
