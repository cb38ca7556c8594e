#!/usr/bin/env node
/**
 * Probes HTTP services, each from a process of its own, and prints a table of their state. A probe that hangs or
 * crashes affects only its own line.
 *
 *   health-probe https://example.org/ http://127.0.0.1:8080/health
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { ItemError, ItemTimeoutError, JsonWorker, Parallel, type TaskContext } from "forkmap";

/** The result for a healthy service. */
interface Answer {
  readonly status: number;
  readonly ms: number;
  readonly attempts: number;
}

/** Reaches the parent with its fields, as `cause` of an ItemError. */
class Unhealthy extends Error {
  /** The word for the table. */
  readonly what: string;
  readonly status: number | null;
  readonly ms: number;

  constructor(what: string, status: number | null, startedAt: number, options?: ErrorOptions) {
    super(what, options);
    this.what = what;
    this.status = status;
    this.ms = performance.now() - startedAt;
  }
}

export class HealthProbe extends JsonWorker<string, Answer> {
  async process(url: string, task: TaskContext): Promise<Answer> {
    const startedAt = performance.now();
    const response = await fetch(url).catch((error: unknown) => {
      throw new Unhealthy(connectionProblem(error), null, startedAt, { cause: error });
    });
    const { status } = response;
    try {
      // Read to the end: a failing service may send only the headers.
      for await (const _ of response.body ?? []);
    } catch (error) {
      throw new Unhealthy("cut short", status, startedAt, { cause: error });
    }
    if (!response.ok) throw new Unhealthy(String(status), status, startedAt);
    return { status, ms: performance.now() - startedAt, attempts: task.attempt };
  }
}

/** The error of `fetch` only says that it failed; its `cause` has the reason. */
function connectionProblem(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const { code } = cause as { code?: unknown };
  if (code === "ECONNREFUSED") return "refused";
  // UND_ERR_SOCKET: the other side closed the connection without an answer.
  if (code === "ECONNRESET" || code === "EPIPE" || code === "UND_ERR_SOCKET") return "reset";
  if (code === "ENOTFOUND") return "no such host";
  return typeof code === "string" ? code : String(cause);
}

// Must come before code that reads or prints: to find the class, another process runs this file again up to this line.
const parallel = new Parallel(new HealthProbe());

const HELP = `Usage: health-probe [options] [url ...]

Probes HTTP services, all at once, each from a process of its own. Without URLs and without --file they are read from
standard input, one per line; blank lines and lines that start with # are skipped.

  --file <path>      read URLs from a file as well
  --timeout <ms>     time for one attempt (default 5000)
  --concurrency <n>  probes at once, 1 to 1024 (default 32; one per core where children cannot be forked)
  --retries <n>      how often a probe that failed is repeated (default 0)
  --json             print one JSON object per line instead of a table
  --help, --version

Exit code: 0 all services are healthy, 1 some are not, 2 nothing was probed.
`;

/** Nothing can be probed; the message is for the user. */
class UsageError extends Error {}

interface Settings {
  readonly urls: readonly string[];
  readonly timeout: number;
  readonly concurrency: number | undefined;
  readonly retries: number;
  readonly json: boolean;
}

interface Report {
  readonly url: string;
  readonly healthy: boolean;
  /** HTTP status code, `null` if there was no response. */
  readonly status: number | null;
  /** What went wrong. */
  readonly problem: string | null;
  readonly ms: number;
  readonly attempts: number;
}

// The reader closed the pipe, as `| head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

try {
  process.exitCode = await main();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`health-probe: ${message}\n`);
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const settings = await readSettings(process.argv.slice(2));
  if (typeof settings === "string") {
    process.stdout.write(settings);
    return 0;
  }
  const { urls, timeout, concurrency, retries, json } = settings;
  const settled = await parallel.mapSettled(urls, {
    timeout,
    retries,
    retryDelay: { min: 200 },
    ...(concurrency === undefined ? {} : { concurrency }),
  });
  await parallel.close();

  const reports = settled.map((outcome, index) => reportOf(urls[index]!, outcome));
  process.stdout.write(json ? jsonLines(reports) : table(reports));
  return reports.every((report) => report.healthy) ? 0 : 1;
}

function reportOf(url: string, outcome: PromiseSettledResult<Answer>): Report {
  if (outcome.status === "fulfilled")
    return { url, healthy: true, problem: null, ...rounded(outcome.value) };
  const error: unknown = outcome.reason;
  if (!(error instanceof ItemError)) throw error;
  const unhealthy = (error.cause ?? {}) as Partial<Unhealthy>;
  return {
    url,
    healthy: false,
    status: unhealthy.status ?? null,
    problem: error instanceof ItemTimeoutError ? "timeout" : (unhealthy.what ?? error.message),
    ...rounded({ ms: unhealthy.ms ?? error.duration, attempts: error.attempt }),
  };
}

function rounded<T extends { readonly ms: number }>(report: T): T {
  return { ...report, ms: Math.round(report.ms) };
}

function jsonLines(reports: readonly Report[]): string {
  return reports.map((report) => `${JSON.stringify(report)}\n`).join("");
}

/** Columns are two spaces apart or more. */
function table(reports: readonly Report[]): string {
  const rows = reports.map(({ url, status, problem, ms, attempts }) => [
    url,
    problem ?? String(status),
    String(ms),
    String(attempts),
  ]);
  const all = [["URL", "STATUS", "MS", "ATTEMPTS"], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const lines = all.map(([url, status, ms, attempts], row) => {
    const cell = paint(status!.padEnd(widths[1]!), reports[row - 1]?.healthy);
    return `${url!.padEnd(widths[0]!)}  ${cell}  ${ms!.padStart(widths[2]!)}  ${attempts!.padStart(widths[3]!)}\n`;
  });
  return lines.join("");
}

function paint(cell: string, healthy: boolean | undefined): string {
  // https://no-color.org
  if (healthy === undefined || !process.stdout.isTTY || process.env["NO_COLOR"]) return cell;
  return `\x1b[${healthy ? 32 : 31}m${cell}\x1b[39m`;
}

/** Returns the settings of the command line, or the text that answers `--help` and `--version`. */
async function readSettings(argv: readonly string[]): Promise<Settings | string> {
  const { values, positionals } = parse(argv);
  if (values.help) return HELP;
  if (values.version) {
    const { version } = createRequire(import.meta.url)("forkmap/package.json") as {
      version: string;
    };
    return `health-probe (forkmap) ${version}\n`;
  }
  const timeout = wholeNumber("timeout", values.timeout, 1, 2 ** 31 - 1) ?? 5000;
  const concurrency = wholeNumber("concurrency", values.concurrency, 1, 1024);
  const retries = wholeNumber("retries", values.retries, 0, 1_000_000) ?? 0;
  const urls = await readUrls(positionals, values.file);
  return { urls, timeout, concurrency, retries, json: values.json };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        file: { type: "string" },
        timeout: { type: "string" },
        concurrency: { type: "string" },
        retries: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        version: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    // Only the first sentence: the others explain the parser.
    const [problem] = (error as Error).message.split(/\n|\. /);
    throw new UsageError(`${problem} (see health-probe --help)`);
  }
}

function wholeNumber(
  option: string,
  given: string | undefined,
  min: number,
  max: number,
): number | undefined {
  if (given === undefined) return undefined;
  const number = Number(given);
  if (/^\d+$/.test(given) && number >= min && number <= max) return number;
  throw new UsageError(`--${option} must be a whole number from ${min} to ${max}, got "${given}"`);
}

async function readUrls(
  positionals: readonly string[],
  file: string | undefined,
): Promise<string[]> {
  const urls = positionals.map((argument, index) => checkedUrl(argument, `argument ${index + 1}`));
  if (file !== undefined) urls.push(...urlsIn(await contentOf(file), file));
  else if (positionals.length === 0 && !process.stdin.isTTY)
    urls.push(...urlsIn(await text(process.stdin), "stdin"));
  if (urls.length === 0) throw new UsageError("no URL given (see health-probe --help)");
  return urls;
}

async function contentOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new UsageError(`--file could not be read: ${(error as Error).message}`);
  }
}

function urlsIn(content: string, source: string): string[] {
  return content.split(/\r?\n/).flatMap((line, index) => {
    const trimmed = line.trim();
    return trimmed === "" || trimmed.startsWith("#")
      ? []
      : [checkedUrl(trimmed, `${source} line ${index + 1}`)];
  });
}

function checkedUrl(given: string, place: string): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return given;
  throw new UsageError(`${place} is not an http or https URL: ${given}`);
}
