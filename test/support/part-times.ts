/** A reporter that prints how long each part of the suite took: a folder of test/, or the files beside the folders. */
import path from "node:path";
import type { Reporter, TestModule } from "vitest/node";

const ROOT = path.resolve(import.meta.dirname, "..");
/** Files run side by side, so the parts add up to more than the run took. */
const HEADING = "Part                 Files    Tests   Seconds (sum of its files)";

interface Part {
  files: number;
  tests: number;
  ms: number;
}

export class PartTimes implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const parts = new Map<string, Part>();
    for (const module of modules) {
      const name = partOf(module.moduleId);
      const part = parts.get(name) ?? { files: 0, tests: 0, ms: 0 };
      part.files += 1;
      part.tests += [...module.children.allTests()].length;
      part.ms += module.diagnostic().duration;
      parts.set(name, part);
    }
    const sorted = [...parts].toSorted(([, a], [, b]) => b.ms - a.ms);
    const lines = sorted.map(([name, { files, tests, ms }]) => {
      const seconds = (ms / 1000).toFixed(1);
      return `${name.padEnd(20)} ${pad(files, 5)} ${pad(tests, 8)} ${seconds.padStart(9)}`;
    });
    console.log(["", HEADING, ...lines, ""].join("\n"));
  }
}

function partOf(file: string): string {
  const folder = path.relative(ROOT, path.dirname(file));
  return folder === "" ? "test/*" : `test/${folder.split(path.sep)[0]}`;
}

function pad(count: number, width: number): string {
  return String(count).padStart(width);
}
