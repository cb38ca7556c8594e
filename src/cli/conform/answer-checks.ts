/** Checks of the answers: one line for each item, whatever the item is and however it is sent. */
import { isDeepStrictEqual } from "node:util";
import { excerpt } from "../../wire/breach.js";
import type { ErrorRecord } from "../../wire/error-record.js";
import type { Bench, Known } from "./bench.js";
import { type Check, note, OK, ok, skipped, type Verdict, wrong } from "./check.js";
import { wayOf } from "./mistakes.js";
import { type Answered, ask, type Failed, hasFailed, payload } from "./reply.js";

/** Enough to see that one process serves several items. */
const MANY = 5;
/** Just below 64 KiB, the longest item that is sent in a line; a reader with a shorter buffer cuts it. */
const LONG_LINE = 60 * 1024;
const LONG_FILE = 100 * 1024;

/** The check of one sample item. A mistake that an earlier item showed already is reported in short. */
export function answersItem(item: unknown): Check {
  return {
    name: `answers ${excerpt(item)}`,
    needs: "program",
    async run(bench) {
      if (bench.mute) return skipped(`it gave no answer to ${excerpt(bench.mute.item)} in time`);
      const reply = await bench.ask(payload(item));
      if (!hasFailed(reply)) {
        bench.known.push({ item, reply });
        return ok(textOf(reply));
      }
      if (reply.isMute) bench.mute = { item };
      const kind = kindOf(reply.problem);
      const before = bench.problems.get(kind);
      if (before) return wrong(`the same mistake as with ${excerpt(before.item)}`);
      bench.problems.set(kind, { item });
      return wrong(`it ${reply.problem}`, reply.stderr);
    },
  };
}

/** The beginning of a problem, up to the part that differs from item to item. */
function kindOf(problem: string): string {
  return /^(?:answered (?:"error" )?with the "\w+"|[^"{[\d]+)/.exec(problem)?.[0] ?? problem;
}

/** To fail every item keeps to the protocol, but then most of the program is not checked. */
export const doesAnItem: Check = {
  name: "can do one of the items",
  needs: "answer",
  async run({ known }) {
    const done = known.filter(({ reply }) => reply.answer.status === "ok");
    if (done.length > 0) return ok(`${done.length} of ${known.length}`);
    return note("it gave a result for none of them: use --item JSON to send items that it can do");
  },
};

export const sendsIdBack: Check = {
  name: "sends the id back",
  needs: "answer",
  async run({ known }) {
    const problem = known.find(({ reply }) => reply.idState.problem)?.reply.idState.problem;
    if (problem) return wrong(`it ${problem}: send the "id" of the request back unchanged`);
    const without = known.filter(({ reply }) => reply.idState.isMissing);
    if (without.length === 0) return OK;
    const statuses = [...new Set(without.map(({ reply }) => `"${reply.answer.status}"`))].join(
      " and ",
    );
    return note(
      `it leaves the id out of its answers with ${statuses}: that is allowed, but then fibers cannot be used, and any extra line is taken for the answer to the next item`,
    );
  },
};

export const servesMany: Check = {
  name: `serves ${MANY} items in one process`,
  needs: "answer",
  async run(bench) {
    const { known, timeout } = bench;
    const talk = bench.start();
    try {
      for (let done = 0; done < MANY; done += 1) {
        const { item } = known[done % known.length]!;
        const reply = await ask(talk, payload(item), timeout);
        if (!hasFailed(reply) && reply.exit === undefined) continue;
        if (hasFailed(reply) && !reply.isUnread) {
          return wrong(`item ${done + 1} was ${excerpt(item)}: it ${reply.problem}`, reply.stderr);
        }
        return endedBetween(hasFailed(reply) ? done : done + 1, wayOf(talk.exit!), talk.stderr);
      }
      return OK;
    } finally {
      await bench.end(talk);
    }
  },
};

function endedBetween(done: number, way: string, stderr: readonly string[]): Verdict {
  if (done > 1)
    return done === MANY ? OK : note(`it ${way} after ${done} items, which is allowed`, stderr);
  return wrong(
    `it ${way} after its first answer: after each answer it has to read the next line, until its stdin ends`,
    stderr,
  );
}

export const ignoresUnknownFields: Check = {
  name: "ignores fields that it does not know",
  needs: "answer",
  async run(bench) {
    const known = bench.best;
    const more = `${payload(known.item)},"of_a_later_version":{"n":1}`;
    const given = 'given an additional field "of_a_later_version" after the payload';
    const reply = await bench.ask(more);
    if (hasFailed(reply)) return wrong(`${given}, it ${reply.problem}`, reply.stderr);
    const difference = await differenceOf(bench, known, reply);
    if (difference === undefined) return OK;
    return wrong(
      `${given}, it answered ${difference.now}; without that field, it answered ${difference.before}: it has to look up the fields that it knows by name, and ignore all others`,
    );
  },
};

export const readsLongLine: Check = {
  name: "reads an item of 60 KiB in one line",
  needs: "answer",
  async run(bench) {
    const reply = await bench.ask(payload("x".repeat(LONG_LINE)));
    if (!hasFailed(reply)) return OK;
    return wrong(
      `it ${reply.problem}. A line may be long: it can hold an item of up to 64 KiB`,
      reply.stderr,
    );
  },
};

export const readsItemFile: Check = {
  name: "takes an item that is in a file",
  needs: "answer",
  async run(bench) {
    const known = bench.best;
    const reply = await bench.ask(inFile(bench, known.item));
    if (hasFailed(reply)) return wrongOfFile(reply);
    const difference = await differenceOf(bench, known, reply);
    if (difference !== undefined) {
      return note(
        `given ${excerpt(known.item)} in an "item_file", it answered ${difference.now}; given the same item as "payload", it answered ${difference.before}: unless it reads the item from the "item_file", it cannot process items of more than 64 KiB`,
      );
    }
    const long = await bench.ask(inFile(bench, "x".repeat(LONG_FILE)));
    return hasFailed(long) ? wrongOfFile(long) : OK;
  },
};

function wrongOfFile({ problem, stderr }: Failed): Verdict {
  return wrong(
    `it was sent {"id":...,"item_file":"a path"}, which is how items of more than 64 KiB are sent: it ${problem}. It has to read the item from that file, or answer "error"`,
    stderr,
  );
}

function inFile(bench: Bench, item: unknown): string {
  return `"item_file":${JSON.stringify(bench.keep(item))}`;
}

interface Difference {
  readonly now: string;
  readonly before: string;
}

/** How the answer differs from that to the same item sent as payload; `undefined` if the answers vary by themselves. */
async function differenceOf(
  bench: Bench,
  { item, reply }: Known,
  now: Answered,
): Promise<Difference | undefined> {
  if (isSame(reply, now)) return undefined;
  const again = await bench.ask(payload(item));
  if (hasFailed(again) || !isSame(reply, again)) return undefined;
  return { now: textOf(now), before: textOf(reply) };
}

function isSame(a: Answered, b: Answered): boolean {
  return a.answer.status === b.answer.status && isDeepStrictEqual(a.result, b.result);
}

/** An answer in a few words. */
function textOf({ answer, result }: Answered): string {
  if (answer.status === "error") return `error ${excerpt(wordsOf(answer.error))}`;
  if (answer.status === "throttled") return `throttled for ${answer.retryAfter / 1000} s`;
  return result instanceof Uint8Array ? `${result.length} bytes` : excerpt(result);
}

function wordsOf(record: ErrorRecord): string {
  return "error" in record ? `${record.error.name}: ${record.error.message}` : "";
}
