/**
 * The folder holds what `forkmap serve` does once its name is known. Here: it serves, from the modules named on the command line to the
 * end of the last job, and what is told meanwhile.
 */
import { type News, type Notify, openNotify, withoutNotify } from "../../container/notify.js";
import { reapZombies } from "../../container/zombies.js";
import {
  type Logger,
  type NamedWorker,
  QueueWorker,
  type QueueWorkerOptions,
} from "../../queue/index.js";
import { UsageError } from "../cli-command.js";
import { findWorkers, importFirst } from "./find-workers.js";
import { type Health, HealthServer } from "./health-server.js";
import type { ServeArguments } from "./serve-arguments.js";

/** Modules may have opened what would keep this process; it gets this long to end by itself. */
const LEAVE_MS = 1000;
const DEFAULT_CONNECTION = "redis://127.0.0.1:6379";

/** @returns the exit code @throws UsageError @throws what `signal` was aborted with, if nothing was served yet */
export async function serveQueues(wanted: ServeArguments, signal: AbortSignal): Promise<number> {
  const news = openNews();
  const stopReaping = reapZombies();
  try {
    return await serve(wanted, signal, news);
  } catch (error) {
    if (error === signal.reason || error instanceof UsageError) throw error;
    const { message } = error as Error;
    news.tell({ status: `Failed: ${message.split("\n", 1)[0]}` }, message);
    return 1;
  } finally {
    stopReaping();
    news.close();
    setTimeout(() => process.exit(), LEAVE_MS).unref();
  }
}

async function serve(
  { modules, imports, health: address, options }: ServeArguments,
  signal: AbortSignal,
  news: NewsLines,
): Promise<number> {
  news.tell({ status: "Starting" });
  let worker: QueueWorker | undefined;
  const health = address && new HealthServer(() => healthOf(worker));
  try {
    // Before the modules are loaded: an orchestrator asks meanwhile.
    const url = address && (await health!.listen(address));
    const urls = await importFirst(imports);
    const workers = await findWorkers(modules);
    signal.throwIfAborted();
    worker = newWorker(workers, {
      ...options,
      execArgv: [...process.execArgv, ...urls.flatMap((each) => ["--import", each])],
      env: withoutNotify(process.env),
      logger: LOGGER,
    });
    return await run(worker, signal, news, server(options.connection), url);
  } finally {
    health?.close();
  }
}

async function run(
  worker: QueueWorker,
  signal: AbortSignal,
  news: NewsLines,
  where: string,
  url: string | undefined,
): Promise<number> {
  // INT and TERM are the queue worker's own; HUP and a closed pipe drain as well.
  const stop = () => {
    const { held } = worker.stats();
    news.tell({ stopping: true, status: "Stopping" }, `stopping, with ${held} jobs to finish`);
    worker.stop();
  };
  signal.addEventListener("abort", stop);
  try {
    const done = worker.run();
    const ready = worker.ready().then(() => {
      const { workers, queues, slots } = worker.stats();
      const what = `serving ${workers.join(", ")} from ${queues.length === 1 ? "the queue" : "the queues"} ${queues.join(", ")} at ${where}, ${slots} ${slots === 1 ? "item" : "items"} at once`;
      news.tell(
        { ready: true, status: "Serving" },
        url ? `${what}; health at ${url}/health` : what,
      );
    });
    // If it never gets there, `run` says why.
    ready.catch(() => {});
    await done;
  } finally {
    signal.removeEventListener("abort", stop);
  }
  const { succeeded, failed } = worker.stats().jobs;
  news.tell({ status: "Stopped" }, `stopped: ${succeeded} jobs succeeded, ${failed} failed`);
  return Number(process.exitCode ?? 0);
}

function newWorker(workers: readonly object[], options: QueueWorkerOptions): QueueWorker {
  try {
    return new QueueWorker(workers as readonly NamedWorker[], options);
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message);
    throw error;
  }
}

function healthOf(worker: QueueWorker | undefined): Health {
  if (!worker) return { state: "starting", connected: false };
  const { state, isConnected, pids: _, ...rest } = worker.stats();
  return { state, connected: isConnected, ...rest };
}

/** Not `info`: jobs that fail are recorded in their queue, and are as many as the workers make them. */
const LOGGER: Logger = { warn: say, error: say };

interface NewsLines {
  /** Says a line on stderr, and tells systemd what is new. */
  tell(what: News, line?: string): void;
  close(): void;
}

function openNews(): NewsLines {
  const { NOTIFY_PIPE, NOTIFY_SOCKET, NOTIFY_LOG } = process.env;
  const notify: Notify | undefined =
    NOTIFY_PIPE || NOTIFY_SOCKET || NOTIFY_LOG ? openNotify() : undefined;
  return {
    tell(what, line) {
      notify?.tell(what);
      if (line !== undefined) say(line);
    },
    close: () => notify?.close(),
  };
}

function say(line: string): void {
  process.stderr.write(`forkmap serve: ${line}\n`);
}

/** Where the server is, without what is secret. */
function server(connection = process.env["FORKMAP_CONNECTION"] || DEFAULT_CONNECTION): string {
  try {
    const { protocol, host, pathname } = new URL(connection);
    return `${protocol}//${host}${pathname}`;
  } catch {
    return "its server";
  }
}
