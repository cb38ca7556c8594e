/**
 * The operation `scheduler_dump`: what the event loop of the child waits for, and how busy it is. Which items and calls are in flight is known to
 * those who run them.
 */
import {
  type EventLoopUtilization,
  type IntervalHistogram,
  monitorEventLoopDelay,
  performance,
} from "node:perf_hooks";
import { clearTimeout, setTimeout } from "../../system/timers.js";
import type { Diagnostic } from "./diagnostic.js";
import { countedResources } from "./status.js";

/** Handles and requests that are described, unless told. */
const TOP = 100;
/** How often the delay of the event loop is measured, in ms. */
const RESOLUTION_MS = 20;
/** It is no longer measured when there has been no dump for so long: it wakes the child up. */
const MEASURED_MS = 60_000;
const NS_PER_MS = 1e6;

let last: { readonly utilization: EventLoopUtilization; readonly at: number } | undefined;
let delays: IntervalHistogram | undefined;
let measuring: NodeJS.Timeout | undefined;

/**
 * Arguments: `top`, how many handles and requests are described. Returns `{ resources, timers, handles, requests, eventLoop }`. The first
 * dump has the utilization since the start and no delay; the next ones within a minute have both since the one before.
 */
export const schedulerDump: Diagnostic = async ({ args }) => {
  const { top = TOP } = args as { top?: number };
  const resources = countedResources();
  return {
    resources,
    timers: resources["Timeout"] ?? 0,
    handles: described("_getActiveHandles", top),
    requests: described("_getActiveRequests", top),
    eventLoop: { ...utilization(), delay: delay() },
  };
};

/** The time in ms over which it is measured, too. */
function utilization() {
  const now = performance.now();
  const total = performance.eventLoopUtilization();
  const since = last ? performance.eventLoopUtilization(total, last.utilization) : total;
  const duration = now - (last?.at ?? 0);
  last = { utilization: total, at: now };
  return { duration, ...since };
}

/** By how many ms the event loop was late; null if it has not been measured. */
function delay() {
  clearTimeout(measuring);
  measuring = setTimeout(() => {
    delays?.disable();
    delays = undefined;
  }, MEASURED_MS).unref();
  if (!delays) {
    delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    delays.enable();
    return null;
  }
  const found =
    delays.count === 0
      ? null
      : {
          mean: latenessOf(delays.mean),
          p99: latenessOf(delays.percentile(99)),
          max: latenessOf(delays.max),
        };
  delays.reset();
  return found;
}

/** The histogram has the time from one measurement to the next. */
function latenessOf(ns: number): number {
  return Math.max(0, ns / NS_PER_MS - RESOLUTION_MS);
}

/** Node has no documented function that returns them. */
type Undocumented = Readonly<
  Record<"_getActiveHandles" | "_getActiveRequests", (() => readonly object[]) | undefined>
>;

function described(getter: keyof Undocumented, top: number) {
  const active = (process as unknown as Undocumented)[getter]?.() ?? [];
  return {
    top: active.slice(0, top).map(describeHandle),
    omitted: Math.max(0, active.length - top),
  };
}

/** Of a socket, server, pipe, child process, or another handle. */
const FIELDS = [
  "fd",
  "pid",
  "spawnfile",
  "localAddress",
  "localPort",
  "remoteAddress",
  "remotePort",
  "bytesRead",
  "bytesWritten",
  "listening",
  "threadId",
  "syscall",
  "path",
] as const;

function describeHandle(handle: object): Record<string, unknown> {
  const described: Record<string, unknown> = { type: typeOf(handle) };
  for (const field of FIELDS) {
    const value = valueOf(handle, field);
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      described[field] = value;
    }
  }
  const inner = valueOf(handle, "_handle");
  const fd = typeof inner === "object" && inner !== null ? valueOf(inner, "fd") : undefined;
  if (typeof fd === "number" && fd >= 0) described["fd"] = fd;
  const address = addressOf(handle);
  if (address) described["address"] = address;
  return described;
}

function typeOf(handle: object): string {
  const { name } = (valueOf(handle, "constructor") ?? {}) as { name?: unknown };
  return typeof name === "string" && name !== "" ? name : "Object";
}

/** A getter of a handle that is being closed may throw. */
function valueOf(object: object, field: string): unknown {
  try {
    return Reflect.get(object, field) as unknown;
  } catch {
    return undefined;
  }
}

/** Of a server or a datagram socket: a path, or address and port. */
function addressOf(handle: object): string | undefined {
  // That of a connected socket is in its fields.
  if (valueOf(handle, "remoteAddress") !== undefined) return undefined;
  try {
    const address = (handle as { address?(): unknown }).address?.();
    if (typeof address === "string") return address;
    const { address: host, port } = (address ?? {}) as { address?: string; port?: number };
    return host === undefined ? undefined : `${host.includes(":") ? `[${host}]` : host}:${port}`;
  } catch {
    return undefined;
  }
}
