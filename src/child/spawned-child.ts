/**
 * Entry of a spawned child: reads its worker and its one item from the channel, loads, runs, says its last word, ends.
 * Reads before it loads anything of the user's, so that by then the parent has told the reaper of it.
 */
import { writeFileSync } from "node:fs";
import { recordError } from "../error-record.js";
import type { LastWord, Payload, Request, WorkerSource } from "../protocol.js";
import { readLines, send } from "./channel.js";
import { type Libc, loadLibc } from "./libc.js";
import { LoadFailure } from "./find-worker.js";
import { applyLimits } from "./limits.js";
import { loadWorker, problemOf, problemOfExit } from "./load-worker.js";
import { type LoadedWorker, runItem } from "./run-item.js";
import { atEnd, watchExit } from "./watch-exit.js";

/** A longer last word goes through scratch, so that no line gets long. */
const WORD_LIMIT = 64 * 1024;

const [source, { id, payload }] = readAll();
const name = source.name || "worker";
let said = false;
let begun = false;

process.title = `forkmap ${name} num ${payload.num} item ${payload.index}`;
watchExit();
atEnd((ending, code) => {
  if (!begun) send({ hello: "failed", problem: problemOfExit(ending, code, source) });
  else if (ending.how !== "uncaught") say({ status: "exited", how: ending.how });
  else say({ status: "exited", how: "uncaught", error: recordError(ending.error) });
});

const worker = await load();
begun = true;
send({ id, begun: true });
say(await runItem(worker, payload, { kind: "spawn", name, context: source.context }));
process.exit();

async function load(): Promise<LoadedWorker> {
  try {
    if (payload.limits) applyLimits(libcForLimits(), payload.limits);
    return await loadWorker(source);
  } catch (error) {
    send({ hello: "failed", problem: problemOf(error) });
    return process.reallyExit(1);
  }
}

function libcForLimits(): Libc {
  try {
    return loadLibc();
  } catch (error) {
    throw new LoadFailure("The option `limits` needs Linux and the optional dependency koffi", {
      value: error,
      unrelated: true,
    });
  }
}

/** The first word stands: an item that is done is done, whatever its exit listeners do. */
function say(word: LastWord): void {
  if (said) return;
  said = true;
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  send({ id, usage: [userCPUTime, systemCPUTime, maxRSS * 1024], ...brief(word, payload) });
}

function brief(word: LastWord, { wordFile }: Payload): LastWord {
  const text = JSON.stringify(word);
  if (text.length <= WORD_LIMIT) return word;
  writeFileSync(wordFile, text, { flag: "wx", mode: 0o600 });
  return { status: "elsewhere", file: wordFile };
}

function readAll(): [WorkerSource, Request] {
  const lines: string[] = [];
  while (lines.length < 2) {
    const more = readLines();
    // The parent has ended before it could say what it wants.
    if (!more) return process.reallyExit(1);
    lines.push(...more);
  }
  return lines.map((line) => JSON.parse(line) as unknown) as [WorkerSource, Request];
}
