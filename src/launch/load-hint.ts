/** Advice on a module that children cannot load although this program has: the program used a loader that they lack. */

/** @returns text to append to an error message, empty if there is no advice */
export function loadHint(url: string, error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  const isUnknown = code === "ERR_UNKNOWN_FILE_EXTENSION" && /\.[cm]?tsx?(\?|$)/.test(url);
  if (isUnknown || code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") {
    return '. Children load TypeScript as Node does, without the loader that this program uses: set `execArgv: ["--import", "tsx"]` if you have tsx';
  }
  const runner = testRunner();
  if (runner === undefined) return "";
  return `. Children load it as Node does, without ${runner}: if it is a test file, put the worker into a module of its own and import that`;
}

function testRunner(): string | undefined {
  const { VITEST, JEST_WORKER_ID } = process.env;
  if (VITEST !== undefined) return "Vitest";
  if (JEST_WORKER_ID !== undefined) return "Jest";
  const { describe, it } = globalThis as { describe?: unknown; it?: unknown };
  return typeof describe === "function" && typeof it === "function" ? "Mocha" : undefined;
}
