import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { PartTimes } from "./test/support/part-times.js";

/** Runs the longest files first: a new machine has no recorded durations, and a long file that starts last delays the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

function isLong({ moduleId }: TestSpecification): boolean {
  return moduleId.includes("/survival/");
}

// Certificates that nothing here needs: Node 20 parses them as it starts, which doubles the time of a start.
delete process.env["NODE_EXTRA_CA_CERTS"];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", new PartTimes()],
    // Against hangs only: on a virtual machine whose page faults are slow, all takes six times as long.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Most tests wait for processes of their own; more test files at a time would make each other time out.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // Workers are loaded by Node itself, here and in the children, so the tests run the published code.
    server: { deps: { external: [/\/dist\//, /\/fixtures\//] } },
  },
});
