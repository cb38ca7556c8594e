/**
 * The best that batches over pipes can reach: two children, a JSON array per line each way, results in order. It runs only
 * this one function and handles no errors, no timeouts and no dead child.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/**
 * Batches of 250 items reach 2.1 million items/s, 500 2.7, 1,000 3.0, 2,000 3.4 and 5,000 3.0; three batches under way at
 * once are no better than two.
 */
const BATCH_ITEMS = 2_000;
const BATCHES_AHEAD = 2;

/** @returns {{ map(items: number[]): Promise<string[]>, close(): void }} */
export function rawPipes(width, childFile = "raw-pipes-child.mjs") {
  const program = fileURLToPath(new URL(`workers/${childFile}`, import.meta.url));
  const children = Array.from({ length: width }, () => {
    const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdout.setEncoding("utf8");
    return child;
  });
  return {
    map: (items) => map(children, items),
    close() {
      for (const child of children) child.stdin.end();
    },
  };
}

function map(children, items) {
  const { promise, resolve } = withResolvers();
  const results = new Array(items.length);
  let next = 0;
  let left = items.length;
  for (const child of children) {
    // Answers come in the order of the batches.
    const under = [];
    let rest = "";
    const send = () => {
      if (next === items.length) return;
      const end = Math.min(next + BATCH_ITEMS, items.length);
      child.stdin.write(`${JSON.stringify(items.slice(next, end))}\n`);
      under.push(next);
      next = end;
    };
    const receive = (chunk) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const answers = JSON.parse(line);
        send();
        const start = under.shift();
        for (let i = 0; i < answers.length; i += 1) results[start + i] = answers[i];
        left -= answers.length;
      }
      if (left > 0) return;
      for (const { stdout } of children) stdout.removeAllListeners("data");
      resolve(results);
    };
    child.stdout.on("data", receive);
    for (let i = 0; i < BATCHES_AHEAD; i += 1) send();
  }
  return promise;
}

/** `Promise.withResolvers` is not in Node 20. */
function withResolvers() {
  let resolve;
  const promise = new Promise((resolvePromise) => (resolve = resolvePromise));
  return { promise, resolve };
}
