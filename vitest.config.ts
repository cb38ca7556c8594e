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

/** How long a test may take, in ms, if it does not say so itself: six times as long where a page fault takes 13 µs, as does a fork there. */
const LIMIT_MS = 30_000 * (haveSlowPageFaults() ? 6 : 1);

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", new PartTimes()],
    testTimeout: LIMIT_MS,
    hookTimeout: LIMIT_MS,
    // Most tests wait for processes of their own; more test files at a time would make each other time out.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // Workers are loaded by Node itself, here and in the children, so the tests run the published code.
    server: { deps: { external: [/\/dist\//, /\/fixtures\//] } },
  },
});

/** Some virtual machines need more than 10 µs for each. */
function haveSlowPageFaults(): boolean {
  const pages = 16_384;
  const began = performance.now();
  Buffer.alloc(4096 * pages, 1);
  return performance.now() - began > 0.006 * pages;
}
