/** The check of several requests at once: each must be answered once and with its id, in any order. */
import { Breach } from "../../wire/breach.js";
import { type Check, OK, type Verdict, wrong } from "./check.js";
import { endingOf, shown } from "./mistakes.js";
import { payload, readLine } from "./reply.js";
import type { Talk } from "./talk.js";

const FIBERS = 3;
/** How long to wait for an extra line after the last answer. */
const SETTLE_MS = 200;

export const answersSeveralAtOnce: Check = {
  name: `answers ${FIBERS} requests at once`,
  needs: "answer",
  async run(bench) {
    const { known, timeout } = bench;
    const talk = bench.start();
    try {
      const ids = Array.from({ length: FIBERS }, (_, i) =>
        talk.request(payload(known[i % known.length]!.item)),
      );
      return await collect(talk, ids, timeout);
    } finally {
      await bench.end(talk);
    }
  },
};

async function collect(talk: Talk, ids: readonly string[], timeout: number): Promise<Verdict> {
  const deadline = performance.now() + timeout;
  const open = new Set(ids);
  while (open.size > 0) {
    const heard = await talk.hear(deadline - performance.now());
    if (heard.kind === "silence") {
      return wrong(
        `it answered ${ids.length - open.size} of ${ids.length} requests within ${timeout / 1000} s, when they were sent at once: a program that waits for its input with select() or poll() has to process all lines that a read returns, not only the first`,
        talk.stderr,
      );
    }
    if (heard.kind !== "line") return wrong(`it ${endingOf(heard)}`, talk.stderr);
    const read = readLine(heard.line, [...open]);
    if (read instanceof Breach) return wrong(`it ${read.message}`, talk.stderr);
    const { answer, idState } = read;
    const isAgain = answer.id !== undefined && ids.includes(answer.id) && !open.has(answer.id);
    if (isAgain) return wrong(`it answered the request "${answer.id}" twice`, talk.stderr);
    if (idState.problem) return wrong(`it ${idState.problem}`, talk.stderr);
    if (answer.id === undefined) {
      return wrong(
        `it left out the "id" of its answer while ${open.size} requests were in flight: without the "id", nothing shows which of them it answers`,
        talk.stderr,
      );
    }
    if (answer.status !== "progress") open.delete(answer.id);
  }
  const more = await talk.hear(SETTLE_MS);
  if (more.kind !== "line") return OK;
  return wrong(`it wrote ${shown(more.line)} after it had answered all requests`, talk.stderr);
}
