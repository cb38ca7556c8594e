/** How the program ends: when there is nothing more to read, when it is told to, and with all it has started. */
import { setTimeout as sleep } from "node:timers/promises";
import { excerpt } from "../../wire/breach.js";
import { DEFAULT_FORCE_KILL_AFTER_MS } from "../../options.js";
import type { Bench } from "./bench.js";
import { type Check, note, OK, skipped, type Verdict, wrong } from "./check.js";
import { shown, UNASKED, wayOf } from "./mistakes.js";
import { remainsOf } from "./remains.js";
import { ask, hasFailed, payload } from "./reply.js";
import type { Talk } from "./talk.js";

/** As long as a `Parallel` waits for it before SIGKILL. */
const END_MS = DEFAULT_FORCE_KILL_AFTER_MS;
/** To be started, when there is no item that it answers. */
const START_MS = 500;
/** What has been killed along with the program is collected by init, in its own time. */
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
          `it did not end ${LATE}: its loop over the lines of stdin has to be left at the end of them`,
          talk.stderr,
        );
      }
      if (exit.started && exit.exitCode !== 0) {
        return note(
          `it ${wayOf(exit)}, which does not matter, but may be an error that it did not expect`,
          talk.stderr,
        );
      }
      return OK;
    }),
};

/** It comes along with the end of its input, and alone when a call is aborted in the middle of an item. */
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
          `it went on for ${END_MS / 1000} s, until its stdin was closed: that is allowed, but an item that is aborted goes on for as long, and is then ended by SIGKILL`,
          talk.stderr,
        );
      }
      return wrong(
        `it did not end ${LATE}, nor when its stdin was closed as well: a handler of SIGTERM has to end it, soon`,
        talk.stderr,
      );
    }),
};

export const leavesNothing: Check = {
  name: "leaves no process behind",
  needs: "program",
  run: (bench) =>
    withIdle(bench, async (talk) => {
      // As a `Parallel` ends it.
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
        `its stdin ended, it was sent SIGTERM, and when it had ended there was still ${remains} in its process group, to be ended by SIGKILL: it has to end what it has started, and to wait for that`,
        talk.stderr,
      );
    }),
};

/** With a process that waits for its next item. What it writes at its end nobody has asked for. */
async function withIdle(bench: Bench, look: (talk: Talk) => Promise<Verdict>): Promise<Verdict> {
  const talk = bench.start();
  try {
    const why = await idle(bench, talk);
    if (why !== undefined) return skipped(why);
    // What it has written up to now is told of elsewhere.
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

/** Why it is not, if so. */
async function idle(bench: Bench, talk: Talk): Promise<string | undefined> {
  if (bench.known.length === 0) {
    return (await talk.ended(START_MS)) && "it ended before that";
  }
  const reply = await ask(talk, payload(bench.best.item), bench.timeout);
  if (hasFailed(reply)) return `it did not answer ${excerpt(bench.best.item)} this time`;
  return reply.exit && "it ended before that";
}
