/** The operation `cpu_profile`: where the child spends its time, as the text of a `.cpuprofile` file. */
import type { Profiler } from "node:inspector";
import { stringify } from "../../system/json.js";
import type { Diagnostic } from "./diagnostic.js";
import { elapse } from "./elapse.js";
import { inspect } from "./inspection.js";

const DURATION_MS = 10_000;
/** Elements of an array that are made text at a time. */
const ELEMENTS = 2000;

let isRunning = false;

/**
 * Arguments: `duration` in ms, `interval` between two samples in us (V8 takes 1000 unless told). Returns `{ bytes, samples }`: the length of
 * the text that was sent, and how many samples are in it. The profile itself is in memory as a whole, its text is not.
 */
export const cpuProfile: Diagnostic = async (call) => {
  const { duration = DURATION_MS, interval } = call.args as {
    duration?: number;
    interval?: number;
  };
  const { signal } = call;
  if (isRunning) {
    throw new Error(
      "Expected no other cpu_profile of this child, but one is running: ask again when it has answered",
    );
  }
  isRunning = true;
  try {
    const profile = await inspect(async (session) => {
      await session.post("Profiler.enable");
      try {
        if (interval !== undefined)
          await session.post("Profiler.setSamplingInterval", { interval });
        await session.post("Profiler.start");
        await elapse(duration, signal);
        return (await session.post("Profiler.stop")).profile;
      } finally {
        // Also stops it.
        await session.post("Profiler.disable");
      }
    });
    let bytes = 0;
    for (const text of textsOf(profile)) {
      signal.throwIfAborted();
      bytes += Buffer.byteLength(text);
      await call.chunk(text);
    }
    return { bytes, samples: profile.samples?.length ?? 0 };
  } finally {
    isRunning = false;
  }
};

function* textsOf(profile: Profiler.Profile): Generator<string> {
  let before = "{";
  for (const [name, value] of Object.entries(profile) as [string, unknown][]) {
    yield `${before}${stringify(name)}:`;
    before = ",";
    if (Array.isArray(value)) yield* textsOfArray(value);
    else yield stringify(value);
  }
  yield "}";
}

function* textsOfArray(array: readonly unknown[]): Generator<string> {
  yield "[";
  for (let at = 0; at < array.length; at += ELEMENTS) {
    yield (at === 0 ? "" : ",") + stringify(array.slice(at, at + ELEMENTS)).slice(1, -1);
  }
  yield "]";
}
