/** The work of a soak item, which runs in its child and, for comparison, in the program. */
import { createHash, randomUUID, scrypt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { deflate, gunzip, gzip } from "node:zlib";
import { JsonWorker } from "forkmap";

const WORDS = 100;
/** Allocates a MiB or more, so that each child collects its young generation. */
const SHORT_LIVED = 20_000;

export class Soak extends JsonWorker {
  /** Created in the fork server and read by every child. */
  words = [];

  preload() {
    this.words = words();
  }

  async process(n) {
    return { result: await soak(n, this.words), id: randomUUID() };
  }
}

export function words() {
  return Array.from({ length: WORDS }, (_, i) => ({ word: `word ${i}`, weight: i / 3 }));
}

/** Every random value is derived from `n`. */
export async function soak(n, shared) {
  const made = shared.map(({ word, weight }, i) => ({
    word: `${word} ${n}`,
    weight: weight * i + n,
  }));
  const text = JSON.stringify(made);
  let allocated = 0;
  for (let i = 0; i < SHORT_LIVED; i += 1) allocated += [{ i }, n].length;
  const [packed, key, smaller] = await Promise.all([
    promisify(gzip)(text, { level: 1 }),
    promisify(scrypt)(`item ${n}`, "salt", 16, { N: 64 }),
    promisify(deflate)(Buffer.alloc(1000 + (n % 1000), n % 256)),
    sleep(n % 3),
  ]);
  const unpacked = (await promisify(gunzip)(packed)).toString();
  const hash = createHash("sha256").update(unpacked).update(key).update(smaller).digest("hex");
  const sum = JSON.parse(unpacked).reduce((total, { weight }) => total + weight, 0);
  return `${hash} ${sum} ${allocated} ${unpacked === text}`;
}
