/** Programs in another language: Python workers behind a CommandWorker, a pipe loop written by hand, and Python's own pool. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CommandWorker, Parallel } from "forkmap";
import * as harness from "./harness.mjs";

const { atLeast, ratio, Skip, target } = harness;
const WIDTH = 2;
const COUNT = harness.size(100_000, 1_000);
const FIBERS = 16;
const LOOP = "pipe loop, written by hand";
const ONE = "forkmap, batch: 1";
const AUTO = "forkmap";
const AHEAD = `forkmap, fibers: ${FIBERS}`;
const PYTHON = "Python Pool(2), chunksize 1";

const items = Array.from({ length: COUNT }, (_, i) => i);
const expected = items.map((n) => String(n * 2));
const python = findPython();
const serve = fileURLToPath(new URL("workers/serve.py", import.meta.url));

harness.introduce("command");
const figures = await harness.race([
  mapper(LOOP, () => pipeLoop(WIDTH)),
  mapper(ONE, () => ours({ batch: 1 })),
  mapper(AUTO, () => ours({})),
  mapper(AHEAD, () => ours({ fibers: FIBERS })),
  multiprocessing(),
]);
report();

/** The path of the interpreter itself: `python3` may be a script that looks for it. */
function findPython() {
  try {
    return execFileSync("python3", ["-c", "import sys; print(sys.executable)"]).toString().trim();
  } catch {
    return undefined;
  }
}

function assertPython() {
  if (python === undefined) throw new Skip("python3 is not installed");
}

function mapper(name, make) {
  let peer;
  const run = async () => harness.expectSame(await peer.map(items), expected, name);
  return {
    name,
    open() {
      assertPython();
      peer = make();
    },
    warm: run,
    run,
    close: () => peer.close(),
  };
}

function ours(options) {
  const worker = new CommandWorker({ argv: [python, serve] });
  const parallel = new Parallel(worker, { pool: WIDTH, ...options });
  return { map: (all) => parallel.mapProcesses(all), close: () => parallel.close() };
}

/** The minimum: one item at a time for each program; handles no errors, no timeouts, no dead program. */
function pipeLoop(width) {
  const programs = Array.from({ length: width }, () =>
    spawn(python, [serve], { stdio: ["pipe", "pipe", "inherit"] }),
  );
  return {
    map: (all) =>
      new Promise((resolve) => {
        const results = Array.from({ length: all.length });
        let next = 0;
        let done = 0;
        for (const { stdin, stdout } of programs) {
          let current = -1;
          let rest = "";
          const send = () => {
            if (next === all.length) return;
            current = next;
            next += 1;
            stdin.write(`${JSON.stringify({ id: String(current), payload: all[current] })}\n`);
          };
          stdout.removeAllListeners("data");
          stdout.on("data", (chunk) => {
            rest += chunk;
            const end = rest.indexOf("\n");
            if (end === -1) return;
            const answer = JSON.parse(rest.slice(0, end));
            rest = rest.slice(end + 1);
            if (answer.id !== String(current)) throw new Error("an answer to another request");
            results[current] = answer.result;
            done += 1;
            if (done === all.length) resolve(results);
            else send();
          });
          send();
        }
      }),
    close() {
      for (const { stdin } of programs) stdin.end();
    },
  };
}

/** Python's pool: items and results never leave Python, and it is timed there. */
function multiprocessing() {
  let child;
  let lines;
  const run = async () => {
    child.stdin.write("\n");
    const { value, done } = await lines.next();
    if (done) throw new Error("imap.py has ended");
    return Number(value);
  };
  return {
    name: PYTHON,
    open() {
      assertPython();
      const file = fileURLToPath(new URL("workers/imap.py", import.meta.url));
      child = spawn(python, [file, String(COUNT)], { stdio: ["pipe", "pipe", "inherit"] });
      lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    },
    warm: run,
    run,
    async close() {
      child.stdin.end();
      await once(child, "exit");
    },
  };
}

function report() {
  harness.heading(`${COUNT} items through ${WIDTH} Python workers`);
  harness.table(
    ["", "items/s", "ms in all", "min - max", "items/s beside the loop"],
    [LOOP, ONE, AUTO, AHEAD, PYTHON]
      .filter((name) => figures.has(name))
      .map((name) => {
        const ms = figures.get(name);
        return [
          name,
          harness.digits((COUNT * 1000) / harness.median(ms)),
          harness.digits(harness.median(ms)),
          harness.span(ms),
          harness.times(ratio(figures.get(LOOP), ms)),
        ];
      }),
  );

  harness.heading("targets");
  target(
    "one item at a time (batch: 1): at least 0.9 of the items/s of a pipe loop written by hand",
    ratio(figures.get(LOOP), figures.get(ONE)),
    atLeast(0.9),
  );
}
