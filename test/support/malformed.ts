/** Messages that no client and no child would send, the same in every run. Those that are well-formed by chance change nothing. */

/** A whole number from 0 up to, not including, this. */
type Random = (below: number) => number;

const ODD_TEXTS = [
  "",
  "\0",
  "\uD800",
  "\uDFFF\uD800",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "status\0",
  "STATUS",
  "../status",
  "begun",
  "x".repeat(3000),
  "é".repeat(700),
  "\u2028\n\r\u001B[31m",
];
const ODD_NUMBERS = [
  "-1",
  "-0",
  "0.5",
  "1e300",
  "1e999",
  "9007199254740993",
  "4294967296",
  "-1e999",
];
/** Without `restart` and `signal`, which would have an effect by chance. */
const NAMES = [
  "hello",
  "status",
  "watch",
  "metrics",
  "cpu_profile",
  "scheduler_dump",
  "register",
  "interrupts",
  "replace",
];
const FIELDS = [
  "id",
  "do",
  "token",
  "args",
  "target",
  "file",
  "answer",
  "finished",
  "failed",
  "error",
  "cancel",
  "child",
  "run",
  "num",
  "chunk",
  "__proto__",
  "constructor",
  "reason",
  "signal",
];

/** Returns any JSON value, as text. */
export function oddValue(random: Random, depth = 0): string {
  switch (random(depth > 3 ? 6 : 10)) {
    case 0:
      return JSON.stringify(pick(random, ODD_TEXTS));
    case 1:
      return pick(random, ODD_NUMBERS);
    case 2:
      return pick(random, ["null", "true", "false"]);
    case 3:
      return `${random(2000)}`;
    case 4:
      return JSON.stringify(pick(random, NAMES));
    case 5:
      return random(40) === 0 ? nested(1 + random(20_000)) : "[]";
    case 6:
    case 7:
      return `[${list(random(4), () => oddValue(random, depth + 1)).join()}]`;
    default:
      return oddObject(random, random(5), depth + 1);
  }
}

function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

function oddObject(random: Random, fields: number, depth: number): string {
  const texts = list(fields, () => `"${pick(random, FIELDS)}":${oddValue(random, depth)}`);
  return `{${texts.join()}}`;
}

/** What a child says of itself, more or less. */
function facts(random: Random, pids: readonly number[]): object {
  return {
    run: `${1 + random(99)}-${random(99)}`,
    num: 1000 + random(50),
    generation: random(3),
    name: pick(random, ODD_TEXTS),
    kind: "fork",
    pid: pick(random, pids),
    startedAt: random(2) === 0 ? 1e15 : 0,
    version: "v0",
  };
}

export interface Malformed {
  /** Whoever a forger might pretend to be. */
  readonly pids: readonly number[];
  /** Of files that must not come to be. */
  readonly paths: readonly string[];
}

/** Returns bytes to send: usually a line, of which a part or more may be missing or wrong. */
export function malformed(random: Random, { pids, paths }: Malformed): string {
  const id = random(20) === 0 ? oddValue(random) : `${random(1000)}`;
  const name = random(10) === 0 ? oddValue(random) : JSON.stringify(pick(random, NAMES));
  // What ends a connection is rare, so that much comes before.
  if (random(25) === 0) return broken(random, id, name);
  switch (random(11)) {
    case 0:
      return `{"id":${id},"cancel":${oddValue(random)}}\n{"id":${id},"cancel":true}\n`;
    case 1:
      return `{"id":${id},"answer":${oddValue(random)}}\n`.repeat(1 + random(50));
    case 2:
      return `{"id":${id},"finished":true,"answer":${oddValue(random)}}\n`;
    case 3:
      return `{"id":${id},"failed":true,"error":${oddValue(random)}}\n`;
    case 4:
      return `{"id":${id},"do":"register","child":${oddValue(random)}}\n`;
    case 5:
      return `${JSON.stringify({ id: 2 * random(9) + 1, do: "register", child: facts(random, pids) })}\n`;
    case 6: {
      const file = pick(random, paths);
      return `${JSON.stringify({ id: 2 * random(1000) + 1, do: "scheduler_dump", target: { num: random(5) }, file })}\n`;
    }
    case 7: {
      // Signals that are not allowed, or that nobody is there for.
      const signal = pick(random, [
        "SIGKILL",
        "SIGSTOP",
        "SIGSEGV",
        9,
        0,
        "__proto__",
        "sigterm",
        ["SIGTERM"],
      ]);
      return `${JSON.stringify({ id: 2 * random(1000) + 1, do: "signal", args: { signal }, target: {} })}\n`;
    }
    case 8: {
      const what = pick(random, ["signal", "restart"]);
      const args = what === "signal" ? { signal: "SIGTERM" } : {};
      return `${JSON.stringify({ id: 2 * random(1000) + 1, do: what, args, target: { num: 1000 + random(50) } })}\n`;
    }
    case 9:
      return `{"id":${id},"do":${name}}\n`;
    default:
      return `{"id":${id},"do":${name},"args":${oddValue(random)},"target":${oddValue(random)},"file":${oddValue(random)}}\n`;
  }
}

function broken(random: Random, id: string, name: string): string {
  switch (random(5)) {
    case 0:
      return `${oddValue(random)}\n`;
    case 1:
      return `{"id":${id},"do":${name}`;
    case 2:
      return `{"id":${id},"do":${name},${"\0".repeat(random(9))}}\n`;
    case 3:
      return `{"id":${id},"do":"${"x".repeat(random(3 * 2 ** 20))}"}\n`;
    default:
      return oddObject(random, 6, 0);
  }
}

function list<T>(length: number, make: () => T): T[] {
  return Array.from({ length }, make);
}

function pick<T>(random: Random, choices: readonly T[]): T {
  return choices[random(choices.length)]!;
}
