/** A dump of threads as text: the stack of each, and what the kernel says of those that have told none. */
import { duration } from "./format.js";

/**
 * @typedef {import("../../wire/thread-dump.js").ThreadDump} ThreadDump
 * @typedef {{ tid: number, name: string, state: string, cpuMs: number, waitsIn?: string }} KernelThread
 */

/** @param {unknown} result what `thread_dump` has answered */
export function stacksText(result) {
  if (typeof result === "string") return result;
  const { threads, kernel, reason } =
    /** @type {ThreadDump & { kernel?: readonly KernelThread[] }} */ (result);
  // Another version of the supervisor may tell more.
  if (!Array.isArray(threads)) return JSON.stringify(result, null, 2);
  return [
    ...threads.map(threadText),
    ...(reason === undefined ? [] : [reason]),
    ...(kernel === undefined ? [] : [kernelText(kernel)]),
  ].join("\n\n");
}

/** @param {ThreadDump["threads"][number]} thread */
function threadText({ id, name, state, stack, resources = {}, reason }) {
  const kept = Object.entries(resources).map(([what, count]) => `${count} ${what}`);
  return [
    `Thread ${id} (${name}): ${state}`,
    ...(stack === undefined ? [] : [stack.replaceAll(/^(?=\S)/gm, "    ")]),
    ...(reason === undefined ? [] : [`    no stack: ${reason}`]),
    ...(kept.length === 0 ? [] : [`    kept alive by ${kept.join(", ")}`]),
  ].join("\n");
}

/** @param {readonly KernelThread[]} threads */
function kernelText(threads) {
  const lines = threads.map(
    ({ tid, name, state, cpuMs, waitsIn }) =>
      `    ${tid} ${name}: ${state}${waitsIn === undefined ? "" : ` in ${waitsIn}`}, CPU ${duration(cpuMs)}`,
  );
  return ["Threads, as the kernel sees them", ...lines].join("\n");
}
