/** What fork and spawn both need to start Node with code of this package. */
import { ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { constants } from "node:os";
import { LaunchError, WorkerModuleError } from "../errors.js";
import { fewDescriptors, shortageInWords, shortageOf } from "../system/shortage.js";
import { setImmediate } from "../system/timers.js";
import { MessageReader } from "../wire/check-message.js";
import { reviveError } from "../wire/error-record.js";
import { CHANNEL_FD, ENTRY_MARK, type LoadProblem } from "../wire/protocol.js";
import { isProgram, rerunAdvice } from "../worker/rerun.js";
import { type Entry, entryFile } from "./entry-file.js";
import { loadHint } from "./load-hint.js";

/** Where and how children run: the options of `Parallel` that concern processes. */
export interface ChildSettings {
  readonly execArgv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string | undefined;
  /** In ms. */
  readonly startupTimeout: number;
  /** In ms. */
  readonly closeTimeout: number;
  /** Whether this process reads what children print. */
  readonly readsOutput: boolean;
  /** Descriptors of listening sockets that children inherit, in this order, right after the channel. */
  readonly sockets?: readonly number[];
}

export interface NodeProcess {
  /** Has no pid if Node could not be started. */
  readonly child: ChildProcess;
  /** Undefined if Node could not be started. */
  readonly channel: Socket | undefined;
  /** Resolves once the process has ended and all its messages have been read; rejects if Node could not be started. */
  readonly gone: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/** Starts Node on `entry` with a channel; in a session of its own, out of reach of the terminal's Ctrl-C. */
export function startNode(
  entry: Exclude<Entry, "thread-child">,
  flags: readonly string[],
  settings: ChildSettings,
  onMessage: (message: unknown) => void,
  onBreach: (reason: string) => void,
): NodeProcess {
  assertNotAstray();
  // The fork server's children have FIFOs of their own.
  const stdio = settings.readsOutput && entry === "spawned-child" ? "pipe" : "inherit";
  const quiet = isNodeTest() ? QUIET_TESTS : [];
  const own = inheritable(settings.execArgv);
  let child: ChildProcess;
  try {
    child = spawn(process.execPath, [...own, ...flags, ...quiet, entryFile(entry)], {
      stdio: ["ignore", stdio, stdio, "pipe", ...(settings.sockets ?? [])],
      detached: true,
      env: { ...settings.env, [ENTRY_MARK]: entry, NODE_TEST_CONTEXT: undefined },
      ...(settings.cwd === undefined ? {} : { cwd: settings.cwd }),
    });
  } catch (error) {
    // Node throws some errors of starting a process (ENOMEM) and reports the others by an event. `entryFile` throws if
    // the files of this package were removed after the launcher was chosen.
    return unstarted(new ChildProcess(), error as Error, settings);
  }
  if (child.pid === undefined) {
    for (const stream of child.stdio ?? []) stream?.on("error", () => {});
    let failure: Error | undefined;
    child.once("error", (error) => (failure = error));
    const error = new Promise<Error>((resolve) => setImmediate(() => resolve(failure!)));
    return unstarted(child, error, settings);
  }
  const channel = child.stdio[CHANNEL_FD] as Socket;
  child.unref();
  channel.unref();
  const reader = new MessageReader(onMessage, onBreach);
  channel.on("data", (chunk: Buffer) => reader.push(chunk));
  // A write to a process that has just ended; `gone` reports its end.
  channel.on("error", () => {});
  child.on("error", () => {});
  const gone = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    if (stdio === "inherit") {
      child.once("close", (code, signal) => resolve({ code, signal }));
    } else {
      // Not "close": processes that the child left behind may hold its stdout or stderr open forever.
      const allRead = new Promise((read) => channel.once("close", read));
      child.once("exit", (code, signal) => void allRead.then(() => resolve({ code, signal })));
    }
  });
  return { child, channel, gone };
}

/** A child runs a test file with a worker's class again, with the tests above it: only this process reports them. */
const QUIET_TESTS = [
  // A reporter of our own, not a destination: Node 22 flushes that to the disk, which /dev/null refuses.
  "--test-reporter=data:text/javascript,export default async function*(events) { for await (const _ of events); }",
  "--test-reporter-destination=stdout",
];

function isNodeTest(): boolean {
  const { moduleLoadList } = process as unknown as { moduleLoadList?: readonly string[] };
  return moduleLoadList?.includes("NativeModule internal/test_runner/harness") ?? false;
}

/** Returns a process that was not started; `gone` rejects later, as any end is reported later. */
function unstarted(
  child: ChildProcess,
  error: Error | Promise<Error>,
  settings: ChildSettings,
): NodeProcess {
  const gone = Promise.resolve(error).then((cause) => {
    throw startFailure(cause, settings);
  });
  gone.catch(() => {});
  return { child, channel: undefined, gone };
}

/** The parent's options that would keep Node from running the entry, or make every child do what one process should. */
const OWN_FLAGS = /^--(inspect|cpu-prof|heap-prof|prof|watch|test|input-type|check|interactive)/;
/** Options that hold the program itself: with them each child would run it again, and so would each of its children. */
const PROGRAM_FLAGS = /^(-e|-p|-pe|--eval|--print)$/;

/** Returns what children get of `execArgv`: all but the flags above and their values (`--cpu-prof-dir profiles`). */
export function inheritable(execArgv: readonly string[]): string[] {
  return execArgv.filter((flag, i) => {
    const option = flag.startsWith("-") ? flag : (execArgv[i - 1] ?? "");
    return (
      !OWN_FLAGS.test(option) &&
      !/^-[ci]$/.test(option) &&
      !/^(--eval|--print)=/.test(option) &&
      !PROGRAM_FLAGS.test(option) &&
      // The program of `-e` may begin with a dash.
      !PROGRAM_FLAGS.test(execArgv[i - 1] ?? "")
    );
  });
}

/** A process that still has `ENTRY_MARK` does not run the entry but maybe the program: it must not start more. */
function assertNotAstray(): void {
  if (process.env[ENTRY_MARK] === undefined) return;
  throw new LaunchError(
    "Node ran the program again instead of a child of it: an option in `execArgv` or NODE_OPTIONS keeps it from running the file it is given",
  );
}

function startFailure(error: Error, { cwd }: ChildSettings): LaunchError {
  if (error instanceof LaunchError) return error;
  const why =
    shortageOf(error) ??
    (cwd !== undefined && !existsSync(cwd) ? `the \`cwd\` ${cwd} does not exist` : error.message);
  return new LaunchError(`Node could not be started: ${why}`, { cause: error });
}

/** Returns what Node probably lacked when it ended like this while it was starting: text that ends a message, or none. */
export function startHint(code: number | null, signal: string | null): string {
  // Node aborts when it cannot create its threads.
  if (signal === "SIGABRT") {
    return `, as Node does when it cannot create its threads. Unless stderr says otherwise, ${shortageInWords("EAGAIN")}`;
  }
  // Node exits with 1 when it cannot open a module.
  const shortage = code === 1 ? fewDescriptors() : undefined;
  return shortage === undefined ? "" : `. Unless stderr says otherwise, ${shortage}`;
}

export function loadError(url: string, { message, error, advice, unrelated }: LoadProblem): Error {
  if (unrelated) return new LaunchError(message);
  const rest = advice === undefined ? "" : `. ${advice}`;
  if (error === undefined) return new WorkerModuleError(url, message + rest);
  const cause = reviveError(error);
  const shortage = shortageOf(cause);
  if (shortage !== undefined) return new LaunchError(`${message}: ${shortage}`, { cause });
  const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
  return new WorkerModuleError(url, `${message}: ${what}${loadHint(url, cause) || rest}`, {
    cause,
  });
}

export function startupTimeoutError(
  { url, isService }: { readonly url: string; readonly isService: boolean },
  ms: number,
): WorkerModuleError {
  const message = `${url} was not loaded after ${ms} ms: it hangs, waits until somebody reads what it prints, or needs a longer \`startupTimeout\``;
  const advice = isProgram(url, process.argv) ? `. ${rerunAdvice(isService)}` : "";
  return new WorkerModuleError(url, message + advice);
}

/** Backwards, so that the first of two names for one signal stays: SIGABRT, not SIGIOT. */
const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

export function signalName(number: number): string {
  return SIGNAL_NAMES.get(number) ?? `signal ${number}`;
}

export function errnoName(number: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === number);
  return found ? found[0] : `errno ${number}`;
}
