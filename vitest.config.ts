import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The longest files first: on a new machine nothing is known of their durations, and one that comes last is waited for. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

function isLong({ moduleId }: TestSpecification): boolean {
  return moduleId.includes("/survival/");
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Most tests wait for processes of their own; more files at a time would make them time each other out.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // Workers are loaded as Node loads them, here and in the children: what is tested is what ships.
    server: { deps: { external: [/\/dist\//, /\/fixtures\//] } },
  },
});
