/**
 * Programs with arbitrary answers: whole, mutated, cut off, interleaved, huge, not UTF-8, or dying in between. Each
 * item has the result that its own answer contains, by the test's own reading of the protocol, or an error.
 */
import { CommandWorker, ItemError, ItemTimeoutError, ProtocolError, DeadChildError } from "forkmap";
import { describe, expect, it } from "vitest";
import { commandFixture } from "../launch/program/languages.js";
import { opened } from "../support/opened.js";
import { seeded } from "../support/seeded.js";

const COUNT = Number(process.env["FORKMAP_FUZZ_ANSWERS"] ?? 10_000);
/** Where programs are slow to start, an answer took 28 ms. */
const TIMEOUT_MS = 60_000 + 60 * COUNT;
const LIMIT_BYTES = 16 * 1024 * 1024;

/** What an item makes its program write: bytes, and commands of writes.sh. */
type Piece = Buffer | "ID" | "LAST" | "PAUSE" | "EXIT" | "KILL" | "HANG" | `LONG${number}`;

const seed = Number(process.env["FORKMAP_FUZZ_SEED"] ?? 20_261_122);
const below = seeded(seed);
const oneOf = <T>(list: readonly T[]): T => list[below(list.length)]!;

const text = (string: string): Piece => Buffer.from(string);
const whole = (result: unknown, more = ""): Piece[] => [
  text('{"id":"'),
  "ID",
  text(`","status":"ok","result":${JSON.stringify(result)}${more}}\n`),
];
const bare = (result: unknown): Piece[] => [
  text(`{"status":"ok","result":${JSON.stringify(result)}}\n`),
];
const RESULTS = [
  "",
  "é€😀",
  'a "quoted" \\ \n line',
  0,
  -1.5e300,
  true,
  null,
  [1, [2, {}]],
  { a: { b: [] } },
];
const resultOf = (i: number) => (below(2) === 0 ? `result of ${i}` : oneOf(RESULTS));

/** Ways to answer, with their weights. */
const WAYS: readonly (readonly [number, (i: number) => Piece[]])[] = [
  [40, (i) => whole(resultOf(i))],
  [10, (i) => bare(resultOf(i))],
  [
    4,
    (i) =>
      whole(
        i,
        oneOf([',"x":1', ',"__proto__":{"status":"error"}', ',"status":"ok"', ',"result":2', "  "]),
      ),
  ],
  [3, (i) => [text('{"id":"'), "ID", text('","status":"progress"}\n'), ...whole(i)]],
  [
    1,
    (i) => [
      ...Array.from(
        { length: 50 },
        () => [text('{"id":"'), "ID", text('","status":"progress"}\n')] as Piece[],
      ).flat(),
      ...whole(i),
    ],
  ],
  [18, (i) => mutated(whole(resultOf(i)))],
  [8, (i) => mutated(bare(resultOf(i)))],
  [4, (i) => cut(whole(resultOf(i))).concat(oneOf(["EXIT", "KILL"] as const))],
  [3, (i) => whole(i).concat(oneOf(["EXIT", "KILL"] as const))],
  [4, (i) => [...whole(i), ...whole(i + 1)]],
  [2, (i) => [...whole(i), ...cut(whole(i))]],
  [2, (i) => [...cut(bare(i)), ...bare(i)]],
  [3, () => [text(`{"id":"${5000 + below(30)}","status":"ok","result":"of another"}\n`)]],
  [3, () => [text('{"id":"'), "LAST", text('","status":"ok","result":"of the last"}\n')]],
  [2, () => [text(`{"id":${below(30)},"status":"ok","result":"of another"}\n`)]],
  [4, () => [noise(1 + below(60)), text("\n")]],
  [3, () => [text('{"status":"ok","result":"'), noise(1 + below(8)), text('"}\n')]],
  [2, () => [text(`${"[".repeat(1 + below(3000))}\n`)]],
  [
    3,
    () => [
      text(
        `{"status":"${oneOf(["error", "okay", "OK", ""])}","message":${oneOf(["1", '"m"', "null"])}}\n`,
      ),
    ],
  ],
  // Invalid seconds: with valid ones the item would be sent again repeatedly.
  [
    1,
    () => [
      text(`{"status":"throttled","retry_after_secs":${oneOf(['"1"', "-1", "[]", "1e9"])}}\n`),
    ],
  ],
  [
    2,
    () => [
      text(
        `{"status":"ok","result_file":${oneOf(['"../x"', '"/etc/passwd"', '"nothing"', '""', "7", '"."'])}}\n`,
      ),
    ],
  ],
  [3, (i) => paused(whole(resultOf(i)))],
];
const WEIGHT = WAYS.reduce((sum, [weight]) => sum + weight, 0);

function answerTo(i: number): Piece[] {
  let at = below(WEIGHT);
  for (const [weight, make] of WAYS) {
    at -= weight;
    if (at < 0) return make(i);
  }
  throw new Error("The weights do not add up");
}

function mutated(pieces: readonly Piece[]): Piece[] {
  const result = pieces.map((each) => (Buffer.isBuffer(each) ? Buffer.from(each) : each));
  for (let left = 1 + below(3); left > 0; left -= 1) {
    const at = below(result.length);
    const piece = result[at]!;
    if (!Buffer.isBuffer(piece) || piece.length === 0) continue;
    const place = below(piece.length);
    const [head, tail] = [piece.subarray(0, place), piece.subarray(place)];
    result[at] = oneOf([
      () => Buffer.concat([head, tail.subarray(1)]),
      () => Buffer.concat([head, Buffer.of(1 + below(255)), tail.subarray(1)]),
      () => Buffer.concat([head, noise(1 + below(4)), tail]),
      () => Buffer.concat([head, tail, tail]),
      () =>
        Buffer.concat([
          head,
          oneOf([text("\n"), text('"'), text("}"), text("\\"), text(" ")]) as Buffer,
          tail,
        ]),
    ])();
  }
  // Otherwise its line would have no end; answers that hang take long, so they have a test of their own.
  return [...result, "EXIT"];
}

function cut(pieces: readonly Piece[]): Piece[] {
  const last = pieces.at(-1) as Buffer;
  return [...pieces.slice(0, -1), last.subarray(0, below(last.length))];
}

function paused(pieces: readonly Piece[]): Piece[] {
  const last = pieces.at(-1) as Buffer;
  const at = below(last.length);
  return [...pieces.slice(0, -1), last.subarray(0, at), "PAUSE", last.subarray(at)];
}

/** Contains no NUL, which a shell cannot hold. */
function noise(length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => 1 + below(255)));
}

/** Encodes the pieces as an item for writes.sh. */
function itemOf(pieces: readonly Piece[]): string {
  const words = pieces.flatMap((piece) =>
    Buffer.isBuffer(piece)
      ? Array.from(piece, (byte) => byte.toString(8).padStart(3, "0"))
      : [piece],
  );
  return words.join(" ");
}

const THE_ID = "the id of the request";

/** Returns the result that the protocol reads in these bytes, if there is one. */
function said(pieces: readonly Piece[]): { result: unknown } | undefined {
  const bytes = Buffer.concat(
    pieces.map((piece) => {
      if (Buffer.isBuffer(piece)) return piece;
      if (piece === "ID") return Buffer.from(THE_ID);
      if (piece === "LAST") return Buffer.from("the one before");
      return piece.startsWith("LONG") ? Buffer.alloc(Number(piece.slice(4)), "0") : Buffer.alloc(0);
    }),
  );
  const lines: Buffer[] = [];
  let rest = bytes;
  for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
    lines.push(rest.subarray(0, end));
    rest = rest.subarray(end + 1);
  }
  while (lines.length > 0 && isProgress(lines[0]!)) lines.shift();
  if (lines.length !== 1 || rest.length > 0 || lines[0]!.length > LIMIT_BYTES) return undefined;
  const answer = objectIn(lines[0]!);
  if (answer?.["status"] !== "ok") return undefined;
  if (answer["id"] !== undefined && answer["id"] !== THE_ID) return undefined;
  if ("result_file" in answer || "result_type" in answer) return undefined;
  return { result: answer["result"] ?? null };
}

function isProgress(line: Buffer): boolean {
  const answer = objectIn(line);
  return answer?.["status"] === "progress" && answer["id"] === THE_ID;
}

function objectIn(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder("utf8", { fatal: true, ignoreBOM: true }).decode(line),
    );
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const KINDS = [ProtocolError, DeadChildError, ItemTimeoutError];

async function run(answers: readonly Piece[][], options: object) {
  const worker = new CommandWorker<string, unknown>({
    argv: ["/bin/sh", commandFixture("writes.sh")],
  });
  const parallel = opened(worker, { pool: 4, ...options });
  const settled = await parallel.mapSettled(answers.map(itemOf));
  expect(settled).toHaveLength(answers.length);
  let fulfilled = 0;
  for (const [i, each] of settled.entries()) {
    const about = `seed ${seed}, item ${i}: ${JSON.stringify(itemOf(answers[i]!).slice(0, 2000))}`;
    const expected = said(answers[i]!);
    if (each.status === "fulfilled") {
      fulfilled += 1;
      expect(expected, about).toBeDefined();
      expect(each.value, about).toEqual(expected!.result);
    } else {
      expect(each.reason, about).toBeInstanceOf(ItemError);
      expect(each.reason.index, about).toBe(i);
    }
  }
  return { settled, fulfilled };
}

describe("answers of all kinds", () => {
  it(`one at a time: ${COUNT} of them`, { timeout: TIMEOUT_MS }, async () => {
    const answers = Array.from({ length: COUNT }, (_, i) => answerTo(i));
    const { settled, fulfilled } = await run(answers, { timeout: 20_000 });
    // No valid answer is refused.
    const refused = answers.flatMap((answer, i) =>
      said(answer) && settled[i]!.status === "rejected" ? [i] : [],
    );
    expect(
      refused.map((i) => [
        i,
        itemOf(answers[i]!),
        (settled[i] as PromiseRejectedResult).reason.message,
      ]),
    ).toEqual([]);
    // A mixture of valid and invalid answers.
    expect(fulfilled).toBeGreaterThan(COUNT / 4);
    expect(fulfilled).toBeLessThan((COUNT * 4) / 5);
    for (const kind of KINDS.slice(0, 2)) {
      expect(
        settled.some((each) => each.status === "rejected" && each.reason instanceof kind),
      ).toBe(true);
    }
  });

  it("several at a time, where a bad answer fails the other items of its program", async () => {
    const answers = Array.from({ length: 2000 }, (_, i) =>
      oneOf<Piece[]>([
        ...Array.from({ length: 20 }, () => whole(`result of ${i}`)),
        [text(`{"id":"${5000 + below(30)}","status":"ok","result":"of another"}\n`)],
        [noise(20), text("\n")],
        [...cut(whole(i)), "EXIT"],
        paused(whole(i)),
      ]),
    );
    const { fulfilled } = await run(answers, { timeout: 20_000, fibers: 5 });
    expect(fulfilled).toBeGreaterThan(answers.length / 5);
  }, 120_000);

  it("huge, or without an end", async () => {
    const huge: Piece[][] = [
      [text('{"status":"ok","result":"'), `LONG${LIMIT_BYTES - 1000}`, text('"}\n')],
      ...Array.from({ length: 4 }, (): Piece[] => [
        text('{"status":"ok","result":"'),
        `LONG${LIMIT_BYTES + 1}`,
        text('"}\n'),
      ]),
      ...Array.from({ length: 4 }, (): Piece[] => [`LONG${4 * LIMIT_BYTES}`, "HANG"]),
      whole("the last"),
    ];
    // None of them waits for it, however long a machine takes to copy so much.
    expect(await namesOf(huge, 30_000)).toEqual(["ok", ...times(8, "ProtocolError"), "ok"]);
    const cutOff = Array.from({ length: 4 }, (): Piece[] => [...cut(whole(1)), "HANG"]);
    expect(await namesOf([...cutOff, whole("the last")], 5000)).toEqual([
      ...times(4, "ItemTimeoutError"),
      "ok",
    ]);

    async function namesOf(answers: Piece[][], timeout: number): Promise<string[]> {
      const { settled } = await run(answers, { timeout, forceKillAfterDelay: 100 });
      return settled.map((each) =>
        each.status === "rejected" ? (each.reason as Error).name : "ok",
      );
    }

    function times(count: number, name: string): string[] {
      return Array.from({ length: count }, () => name);
    }
  }, 120_000);
});
