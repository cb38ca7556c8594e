/** The languages that test programs are written in; those that are not installed are skipped. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe } from "vitest";

export interface Language {
  readonly name: string;
  /** Program and arguments for a fixture without its extension. */
  argv(fixture: string): string[];
}

/** `python3` may be a version manager's script that searches for the interpreter, which takes longer than a test. */
export const PYTHON = find("python3", ["-c", "import sys; print(sys.executable)"]);

const LANGUAGES = [
  { name: "sh", extension: "sh", program: "/bin/sh" },
  { name: "python3", extension: "py", program: PYTHON },
];

/** Runs `suite` for each language. */
export function inEachLanguage(title: string, suite: (language: Language) => void): void {
  for (const { name, extension, program } of LANGUAGES) {
    describe.skipIf(program === undefined)(`${title} in ${name}`, () => {
      suite({
        name,
        argv: (fixture) => [program!, commandFixture(`${fixture}.${extension}`)],
      });
    });
  }
}

export function commandFixture(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/commands/${name}`, import.meta.url));
}

function find(program: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}
