/**
 * Tells the outside how the program is: the container of async-container that started it (NOTIFY_PIPE), systemd (NOTIFY_SOCKET), a log file
 * (NOTIFY_LOG), or else the terminal.
 */
import { appendFileSync, closeSync, writeSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import { stringify } from "../system/json.js";
import { clearInterval, setInterval } from "../system/timers.js";
import { socketCalls } from "./socket-calls.js";

/** What is told; of systemd's names in capitals, see sd_notify(3). */
export interface News {
  readonly ready?: true;
  readonly reloading?: true;
  readonly stopping?: true;
  readonly healthy?: true;
  readonly status?: string;
  /** How many instances there are. */
  readonly size?: number;
}

export interface Notify {
  tell(news: News): void;
  close(): void;
}

/** Returns the first outlet that the environment names; else the terminal. */
export function openNotify(env: NodeJS.ProcessEnv = process.env): Notify {
  const { NOTIFY_PIPE, NOTIFY_SOCKET, NOTIFY_LOG } = env;
  const outlet =
    (NOTIFY_PIPE && toPipe(Number(NOTIFY_PIPE))) ||
    (NOTIFY_SOCKET && toSystemd(NOTIFY_SOCKET)) ||
    (NOTIFY_LOG && toLog(NOTIFY_LOG)) ||
    toTerminal;
  const watchdog = startWatchdog(env, outlet);
  return {
    tell: (news) => contained(outlet, news),
    close() {
      clearInterval(watchdog);
      outlet.close?.();
    },
  };
}

/** Returns the environment for children: they are not who is asked to tell, and have no sockets of systemd. */
export function withoutNotify(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const rest = { ...env };
  for (const name of OWN_VARIABLES) delete rest[name];
  return rest;
}

const OWN_VARIABLES = [
  "NOTIFY_PIPE",
  "NOTIFY_SOCKET",
  "NOTIFY_LOG",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
];

interface Outlet {
  (news: News): void;
  close?(): void;
}

function contained(outlet: Outlet, news: News): void {
  try {
    outlet(news);
  } catch (error) {
    process.emitWarning(`Nobody could be told of ${stringify(news)}: ${(error as Error).message}`, {
      type: "ForkmapWarning",
      code: "FORKMAP_NOTIFY",
    });
  }
}

function toPipe(fd: number): Outlet {
  return (news) => void writeSync(fd, `${stringify(news)}\n`);
}

function toLog(file: string): Outlet {
  return (news) =>
    appendFileSync(file, `${stringify({ time: new Date().toISOString(), ...news })}\n`);
}

const toTerminal: Outlet = ({ status }) => {
  if (status !== undefined) process.stderr.write(`forkmap: ${status}\n`);
};

function toSystemd(address: string): Outlet | undefined {
  const calls = socketCalls();
  if (!calls) {
    process.emitWarning(
      "NOTIFY_SOCKET is set, but nobody can be told there: that needs Linux and the optional dependency koffi",
      { type: "ForkmapWarning", code: "FORKMAP_NOTIFY" },
    );
    return undefined;
  }
  const fd = calls.connectDatagrams(address);
  if (fd < 0) {
    process.emitWarning(
      `The socket of NOTIFY_SOCKET (${address}) could not be opened (${getSystemErrorName(fd)})`,
      { type: "ForkmapWarning", code: "FORKMAP_NOTIFY" },
    );
    return undefined;
  }
  const tell = (news: News) => void writeSync(fd, inSystemdsWords(news));
  return Object.assign(tell, { close: () => closeSync(fd) });
}

function inSystemdsWords({ ready, reloading, stopping, healthy, status }: News): string {
  return [
    ...(ready ? ["READY=1"] : []),
    // With `Type=notify-reload`, systemd wants to know which reload is meant.
    ...(reloading ? ["RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`] : []),
    ...(stopping ? ["STOPPING=1"] : []),
    ...(healthy ? ["WATCHDOG=1"] : []),
    ...(status === undefined ? [] : [`STATUS=${status.replaceAll("\n", " ")}`]),
  ].join("\n");
}

/** Tells that the program is healthy as often as systemd asks for (`WatchdogSec=`): twice in that time, as it advises. */
function startWatchdog(env: NodeJS.ProcessEnv, outlet: Outlet): NodeJS.Timeout | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID } = env;
  const ms = Number(WATCHDOG_USEC) / 1000;
  if (!(ms > 0) || (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== process.pid))
    return undefined;
  return setInterval(() => contained(outlet, { healthy: true }), ms / 2).unref();
}
