#!/usr/bin/env node
/**
 * The SHA-256 of every file below a folder, each from a process of its own, in the format of `sha256sum`. A file that
 * cannot be read is reported and does not stop the others.
 *
 *   digest src > sums && sha256sum --check sums
 */
import { createHash } from "node:crypto";
import { createReadStream, type Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { Parallel, processorCount } from "forkmap";

export async function digest(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

// Must come before code that prints: to find the function, another process runs this file again up to this line.
const parallel = new Parallel(digest);

const HELP = `Usage: digest [--concurrency <n>] <path ...>

Prints the SHA-256 of every file below the given folders, and of the files given, as sha256sum does.
Links inside folders are not followed.

  --concurrency <n>  files at once, 1 to 1024 (default: one per processor)
  --help, --version

Exit code: 0 all files were read, 1 some could not be, 2 wrong usage.
`;

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };

class UsageError extends Error {}

interface Command {
  readonly paths: readonly string[];
  readonly concurrency: number;
}

// The reader closed the pipe, as `| head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

try {
  process.exitCode = await main();
} catch (error) {
  complain(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const command = parseCommand(process.argv.slice(2));
  if ("answer" in command) {
    process.stdout.write(command.answer);
    return 0;
  }
  let failures = 0;
  const fail = (path: string, why: unknown) => {
    failures += 1;
    complain(`${path}: ${why instanceof Error ? why.message : String(why)}`);
  };
  const files: string[] = [];
  for (const path of command.paths) files.push(...(await filesBelow(path, fail)));
  const digests = await parallel.mapSettled(files, { concurrency: command.concurrency });
  await parallel.close();

  for (const [index, each] of digests.entries()) {
    const file = files[index]!;
    // `cause` is the error of the function. Without a cause the child died, and the error says how.
    if (each.status === "rejected") fail(file, (each.reason as Error).cause ?? each.reason);
    else process.stdout.write(lineOf(each.value, file));
  }
  return failures === 0 ? 0 : 1;
}

/** Returns the path itself if it is not a folder, else all regular files in it, by name. */
async function filesBelow(
  path: string,
  fail: (path: string, why: unknown) => void,
): Promise<string[]> {
  try {
    if (!(await lstat(path)).isDirectory()) return [path];
    const files: string[] = [];
    for (const entry of (await readdir(path, { withFileTypes: true })).toSorted(byName)) {
      const inside = path.endsWith("/") ? `${path}${entry.name}` : `${path}/${entry.name}`;
      if (entry.isDirectory()) files.push(...(await filesBelow(inside, fail)));
      else if (entry.isFile()) files.push(inside);
    }
    return files;
  } catch (error) {
    fail(path, error);
    return [];
  }
}

function byName(one: Dirent, other: Dirent): number {
  return one.name < other.name ? -1 : 1;
}

/** As sha256sum does, escapes a name with a line break or a backslash, and marks the line with a backslash at its start. */
function lineOf(sum: string, path: string): string {
  const escaped = path.replaceAll(/[\\\n\r]/g, (character) => ESCAPES[character]!);
  return `${escaped === path ? "" : "\\"}${sum}  ${escaped}\n`;
}

function complain(message: string): void {
  process.stderr.write(`digest: ${message}\n`);
}

/** Returns the command to run, or the text that answers `--help` and `--version`. */
function parseCommand(argv: readonly string[]): Command | { readonly answer: string } {
  const { values, positionals } = parse(argv);
  if (values.help) return { answer: HELP };
  if (values.version) {
    const { version } = createRequire(import.meta.url)("forkmap/package.json") as {
      version: string;
    };
    return { answer: `digest (forkmap) ${version}\n` };
  }
  if (positionals.length === 0) throw new UsageError("no path given (see digest --help)");
  const concurrency = Number(values.concurrency ?? processorCount());
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 1024) {
    throw new UsageError(
      `--concurrency must be a whole number from 1 to 1024, got "${values.concurrency}"`,
    );
  }
  return { paths: positionals, concurrency };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        concurrency: { type: "string" },
        help: { type: "boolean", default: false },
        version: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    // Only the first sentence: the others explain the parser.
    const [problem] = (error as Error).message.split(/\n|\. /);
    throw new UsageError(`${problem} (see digest --help)`);
  }
}
