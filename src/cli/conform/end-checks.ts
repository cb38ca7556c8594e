/** Checks of the end: at the end of stdin, on SIGTERM, and without leaving processes behind. */
import { setTimeout as sleep } from "node:timers/promises";
import { DEFAULT_FORCE_KILL_AFTER_MS } from "../../options.js";
import { excerpt } from "../../wire/breach.js";
import type { Bench } from "./bench.js";
import { type Check, note, OK, skipped, type Verdict, wrong } from "./check.js";
import { shown, UNASKED, wayOf } from "./mistakes.js";
import { remainsOf } from "./remains.js";
import { ask, hasFailed, payload } from "./reply.js";
import type { Talk } from "./talk.js";

/** As long as a `Parallel` waits between SIGTERM and SIGKILL. */
const END_MS = DEFAULT_FORCE_KILL_AFTER_MS;
/** Time to start, if there is no item that the program answers. */
const START_MS = 500;
/** init collects the killed descendants of the program, which takes a while. */
const REMAINS_MS = 1000;
const LOOK_MS = 50;

const LATE = `within ${END_MS / 1000} s`;

export const endsWithInput: Check = {
  name: "ends when its stdin ends",
  needs: "program",
  run: (bench) =>
    withIdle(bench, async (talk) => {
      talk.endInput();
      const exit = await talk.ended(END_MS);
      if (!exit) {
        return wrong(
          `it did not end ${LATE}: at the end of stdin it has to leave its loop over the lines, and end`,
          talk.stderr,
        );
      }
      if (exit.started && exit.exitCode !== 0) {
        return note(
          `it ${wayOf(exit)}, which is allowed, but may be the sign of an error that it did not catch`,
          talk.stderr,
        );
      }
      return OK;
    }),
};

/** SIGTERM is sent together with the end of stdin, and alone when a call is aborted in the middle of an item. */
export const endsOnSigterm: Check = {
  name: "ends on SIGTERM",
  needs: "program",
  run: (bench) =>
    withIdle(bench, async (talk) => {
      talk.kill("SIGTERM");
      if (await talk.ended(END_MS)) return OK;
      talk.endInput();
      if (await talk.ended(END_MS)) {
        return note(
          `it ran on for ${END_MS / 1000} s, until its stdin was closed: that is allowed, but an aborted item runs on for as long, and the program is then ended by SIGKILL`,
          talk.stderr,
        );
      }
      return wrong(
        `it did not end ${LATE}, nor when its stdin was closed as well: if it handles SIGTERM, the handler has to end it soon`,
        talk.stderr,
      );
    }),
};

export const leavesNothing: Check = {
  name: "leaves no process behind",
  needs: "program",
  run: (bench) =>
    withIdle(bench, async (talk) => {
      // A `Parallel` ends a program in the same way.
      talk.endInput();
      talk.kill("SIGTERM");
      if (!(await talk.ended(END_MS))) return skipped("it did not end");
      const deadline = performance.now() + REMAINS_MS;
      let remains = remainsOf(talk.pid!);
      while (remains !== undefined && performance.now() < deadline) {
        await sleep(LOOK_MS);
        remains = remainsOf(talk.pid!);
      }
      if (remains === undefined) return OK;
      return wrong(
        `its stdin was closed and it was sent SIGTERM; after it had ended, its process group still contained ${remains}, to be ended by SIGKILL: before it ends, it has to end the processes that it has started, and wait for them`,
        talk.stderr,
      );
    }),
};

/** Runs `look` on a process that waits for its next item. Output of the process at its end is a mistake. */
async function withIdle(bench: Bench, look: (talk: Talk) => Promise<Verdict>): Promise<Verdict> {
  const talk = bench.start();
  try {
    const why = await idle(bench, talk);
    if (why !== undefined) return skipped(why);
    // Other checks report what the program wrote up to now.
    while ((await talk.hear(0)).kind === "line");
    const { length } = talk.unfinished;
    const verdict = await look(talk);
    if (verdict.level === "wrong" || verdict.skippedAs !== undefined) return verdict;
    const heard = await talk.hear(0);
    if (heard.kind !== "line" && talk.unfinished.length === length) return verdict;
    const words = heard.kind === "line" ? heard.line : talk.unfinished;
    return wrong(`it wrote ${shown(words)} to stdout at its end: ${UNASKED}`, talk.stderr);
  } finally {
    await bench.end(talk);
  }
}

/** Waits until the process waits for an item; returns why it does not, or `undefined`. */
async function idle(bench: Bench, talk: Talk): Promise<string | undefined> {
  if (bench.known.length === 0) {
    return (await talk.ended(START_MS)) && "it had already ended";
  }
  const reply = await ask(talk, payload(bench.best.item), bench.timeout);
  if (hasFailed(reply)) return `it did not answer ${excerpt(bench.best.item)} this time`;
  return reply.exit && "it had already ended";
}
