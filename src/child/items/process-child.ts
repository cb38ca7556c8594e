/** What forked and spawned children have in common: their titles, how their runners report, and the threads of a host. */
import type { Start } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { Frame } from "../../worker/worker.js";
import type { ItemChannel } from "./item-channel.js";
import type { OutputMarks } from "./output-marks.js";
import type { RunnerEvents } from "./runner-events.js";
import type { ServiceLink } from "./service-link.js";

/** Returns the process title, as shown in process lists. */
export function titleOf(name: string, { num, payload, service }: Start): string {
  return `forkmap ${service?.name ?? name} num ${num}${payload ? ` item ${payload.index}` : ""}`;
}

/** Returns the events of a child whose one item came with its start; its exit signals that the item is done. */
export function eventsAlone(
  done: () => void,
  reportRejections: (then: () => void) => void = reportRejectionsSoon,
): RunnerEvents {
  return { say() {}, busy() {}, onInterrupt, reportRejections, done };
}

/** Reports unhandled rejections once all microtasks have run; until then they may still be handled. */
export function reportRejectionsSoon(then: () => void): void {
  process.nextTick(() => {
    // Deno does not have `_tickCallback`.
    process._tickCallback?.();
    then();
  });
}

/** Returns the events of a child that gets its items through a channel. */
export function eventsThrough(
  channel: ItemChannel,
  marks: OutputMarks | undefined,
  done: () => void,
): RunnerEvents {
  return {
    say: (answer) => channel.say(answer),
    busy: (isBusy) => channel.busy(isBusy),
    onInterrupt,
    done,
    marks,
  };
}

/** Makes this process a host: it runs no items itself, but threads that each load the worker again. */
export async function hostThreads(
  channel: ItemChannel,
  source: WorkerSource,
  frame: Frame,
  done: () => void,
): Promise<void> {
  const { ThreadHost } = await import("../../launch/thread/thread-host.js");
  channel.serve(new ThreadHost(source, frame, { say: (message) => channel.say(message), done }));
}

/**
 * Returns what connects an instance of a service in a process.
 *
 * @param sockets - what it does with the container's sockets
 * @param leave - ends the process
 */
export function linkThrough(
  channel: ItemChannel,
  sockets: Pick<ServiceLink, "duplicate" | "map">,
  leave: (code: number) => void,
): ServiceLink {
  return {
    say: (message) => channel.sayNow(message),
    // Not once: the second SIGINT would end a process that drains.
    onInterrupt: (interrupt) => void process.on("SIGINT", interrupt),
    duplicate: (fd) => sockets.duplicate(fd),
    map: (file) => sockets.map(file),
    leave,
  };
}

function onInterrupt(interrupt: () => void): void {
  process.once("SIGTERM", interrupt);
}
