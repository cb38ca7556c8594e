/** What the children that are processes of their own have in common, whether they were forked or spawned. */
import type { Start } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { Frame } from "../../worker/worker.js";
import type { ItemChannel } from "./item-channel.js";
import type { OutputMarks } from "./output-marks.js";
import type { RunnerEvents } from "./runner-events.js";

/** In the list of processes. */
export function titleOf(name: string, { num, payload }: Start): string {
  return `forkmap ${name} num ${num}${payload ? ` item ${payload.index}` : ""}`;
}

/** Of a child whose one item came with its start: its end says that it is done. */
export function eventsAlone(
  done: () => void,
  tellRejections: (then: () => void) => void = tellRejectionsSoon,
): RunnerEvents {
  return { say() {}, busy() {}, onInterrupt, tellRejections, done };
}

/** Those that are there once all microtasks have run: until then they may yet be handled. */
export function tellRejectionsSoon(then: () => void): void {
  process.nextTick(() => {
    // Deno has none.
    process._tickCallback?.();
    then();
  });
}

/** Of one that gets its items through a channel. */
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

/** Runs nothing itself: its threads do, each of which loads the worker anew. */
export async function hostThreads(
  channel: ItemChannel,
  source: WorkerSource,
  frame: Frame,
  done: () => void,
): Promise<void> {
  const { ThreadHost } = await import("../../launch/thread/thread-host.js");
  channel.serve(new ThreadHost(source, frame, { say: (message) => channel.say(message), done }));
}

function onInterrupt(interrupt: () => void): void {
  process.once("SIGTERM", interrupt);
}
