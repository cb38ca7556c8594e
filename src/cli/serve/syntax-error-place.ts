/** Where a module that could not be parsed is wrong: Node says it of errors that end a program, but not to those who catch them. */
import { execFile } from "node:child_process";

/** How Node begins: the place, the line, and carets below what is wrong. */
const PLACE = /^(?!node:)(\S.*:\d+)\n.*\n *\^+ *\n/;

/** To parse what was parsed already, in ms. */
const LIMIT_MS = 10_000;

/**
 * Returns file and line, or `undefined` if they are not known.
 *
 * @param url - of the module whose import failed, which may be another than the one that is wrong
 */
export async function placeOfSyntaxError(error: Error, url: string): Promise<string | undefined> {
  const { stack = "" } = error;
  const known = PLACE.exec(stack)?.[1];
  return known ?? (/\bcompileSourceTextModule\b/.test(stack) ? await placeFrom(url) : undefined);
}

/**
 * Another process imports it, and fails as it is parsed. Nothing of it runs a second time: all static imports are parsed before the first is run,
 * and that one ends the process, if what is wrong was imported by code that ran.
 */
async function placeFrom(url: string): Promise<string | undefined> {
  const code = `import "data:text/javascript,process.exit()"; import ${JSON.stringify(url)};`;
  const args = [...process.execArgv, "--input-type=module", "--eval", code];
  return await new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: LIMIT_MS }, (_error, _stdout, stderr) => {
      resolve(new RegExp(PLACE, "m").exec(stderr)?.[1]);
    });
  });
}
