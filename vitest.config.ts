import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Tests start processes of their own; two files at a time keep both cores busy without timing each other out.
    maxWorkers: 2,
    pool: "forks",
    // Workers are loaded as Node loads them, here and in the children: what is tested is what ships.
    server: { deps: { external: [/\/dist\//, /\/fixtures\//] } },
  },
});
