import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Most tests wait for processes of their own; more files at a time would make them time each other out.
    maxWorkers: 3,
    pool: "forks",
    // Workers are loaded as Node loads them, here and in the children: what is tested is what ships.
    server: { deps: { external: [/\/dist\//, /\/fixtures\//] } },
  },
});
