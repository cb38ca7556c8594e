/** What the worker of fixtures/queue/ordered.mjs has begun, as it wrote it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface Begin {
  readonly n: number;
  /** Of the child. */
  readonly pid: number;
  /** Its process id. */
  readonly machine: number;
  /** Of the clock, in ms. */
  readonly at: number;
}

export interface Begun {
  /** For the environment of machines. */
  readonly env: Readonly<Record<string, string>>;
  read(): Begin[];
  remove(): void;
}

export function begunItems(): Begun {
  const directory = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-begun-"));
  const file = path.join(directory, "begun");
  writeFileSync(file, "");
  return {
    env: { BEGUN: file },
    read() {
      const lines = readFileSync(file, "utf8").split("\n");
      return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Begin);
    },
    remove: () => rmSync(directory, { recursive: true }),
  };
}
