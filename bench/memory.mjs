/**
 * The memory of a live child: 32 children have done a small piece of work and stay; then /proc/<pid>/smaps_rollup shows
 * how much each holds alone.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Parallel } from "forkmap";
import * as harness from "./harness.mjs";
import { rawForkToStay } from "./raw-fork.mjs";
import { Stay } from "./workers/forkmap.mjs";

const COUNT = harness.size(32, 4);
const WAITS = ["synchronous", "asynchronous"];
const POLL_MS = 100;
/** If no child has used CPU time over this many polls, every child has done its work and waits. */
const CALM_POLLS = 5;
/** Longer than the 8 s after which V8 collects garbage in an idle process: this unshares memory and counts. */
const STAY_MS = harness.size(10_000, 0);
const KIBIBYTES_PER_MEBIBYTE = 1024;
const FIELDS = ["Private_Dirty", "Private_Clean", "Pss", "Rss"];

if (process.platform !== "linux") {
  console.log("skipped: /proc/<pid>/smaps_rollup is Linux");
  process.exit();
}

harness.introduce("memory");
const contenders = WAITS.flatMap((wait) => [
  { group: wait, name: "forkmap fork", ...forkmap(wait, "fork") },
  { group: wait, name: "forkmap spawn", ...forkmap(wait, "spawn") },
  { group: wait, name: "child_process.fork", ...rawChildren(wait) },
]);
const figures = await harness.race(contenders);
report();

/** A contender whose `run` returns the medians over the children, by field, in KiB. */
function forkmap(how, startMethod) {
  const parallel = new Parallel(Object.assign(new Stay(), { how }), {
    startMethod,
    concurrency: COUNT,
    killSignal: "SIGKILL",
  });
  return {
    open: () => parallel.ready(),
    async run() {
      const before = nodeProcesses();
      const enough = new AbortController();
      const call = parallel.eachProcess(Array.from({ length: COUNT }, String), {
        signal: enough.signal,
      });
      call.catch(() => {});
      const held = await look(before);
      enough.abort();
      await call.catch(() => {});
      return held;
    },
    close: () => parallel.close(),
  };
}

function rawChildren(how) {
  return {
    async run() {
      const before = nodeProcesses();
      const children = Array.from({ length: COUNT }, () => rawForkToStay(how));
      const gone = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
      const held = await look(before);
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(gone);
      return held;
    },
  };
}

/** Waits until all children run and are idle, then measures them. */
async function look(before) {
  let calm = 0;
  let lastTime = -1;
  await sleep(STAY_MS);
  for (;;) {
    await sleep(POLL_MS);
    const pids = [...nodeProcesses()].filter((pid) => !before.has(pid));
    if (pids.length > COUNT) throw new Error(`${pids.length} processes instead of ${COUNT}`);
    const time = pids.reduce((sum, pid) => sum + cpuTime(pid), 0);
    calm = pids.length === COUNT && time === lastTime ? calm + 1 : 0;
    lastTime = time;
    if (calm < CALM_POLLS) continue;
    const each = pids.map(smapsRollup);
    return Object.fromEntries(
      FIELDS.map((field) => [field, harness.median(each.map((held) => held[field]))]),
    );
  }
}

/** Pids of all descendants of this process that run Node, without shells and reapers. */
function nodeProcesses() {
  const parents = new Map();
  for (const name of readdirSync("/proc")) {
    if (/^\d+$/.test(name)) parents.set(Number(name), Number(statFields(name)?.[1]));
  }
  const isOurs = (pid) =>
    pid !== undefined && pid > 1 && (pid === process.pid || isOurs(parents.get(pid)));
  return new Set(
    [...parents.keys()].filter((pid) => pid !== process.pid && isOurs(pid) && runsNode(pid)),
  );
}

function runsNode(pid) {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === process.execPath;
  } catch {
    return false;
  }
}

/** User and system time in clock ticks. */
function cpuTime(pid) {
  const fields = statFields(pid);
  return fields ? Number(fields[11]) + Number(fields[12]) : 0;
}

/** The fields of proc_pid_stat(5) from the state on: the name before it may hold spaces and parentheses. */
function statFields(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

function smapsRollup(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  return Object.fromEntries(
    FIELDS.map((field) => [
      field,
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)[1]),
    ]),
  );
}

function report() {
  for (const wait of WAITS) {
    const racing = contenders.filter((each) => each.group === wait && of(wait, each.name, "Pss"));
    if (racing.length === 0) continue;
    harness.heading(`${COUNT} live children, small work done, ${wait} wait: MiB per child`);
    harness.table(
      [
        "",
        "private dirty",
        "min - max",
        "private clean",
        "Pss",
        "Rss",
        "private dirty / child_process.fork",
      ],
      racing.map(({ name }) => {
        const mebibytes = (field) =>
          of(wait, name, field).map((kib) => kib / KIBIBYTES_PER_MEBIBYTE);
        const middle = (field) => harness.digits(harness.median(mebibytes(field)));
        return [
          name,
          middle("Private_Dirty"),
          harness.span(mebibytes("Private_Dirty")),
          middle("Private_Clean"),
          middle("Pss"),
          middle("Rss"),
          harness.times(
            harness.ratio(
              of(wait, name, "Private_Dirty"),
              of(wait, "child_process.fork", "Private_Dirty"),
            ),
          ),
        ];
      }),
    );
  }

  harness.heading("targets");
  const [synchronous] = WAITS;
  const dirty = of(synchronous, "forkmap fork", "Private_Dirty");
  if (!dirty) return;
  harness.target(
    "small synchronous item: less than 3 MiB private dirty per child (of 3 MiB)",
    harness.median(dirty) / (3 * KIBIBYTES_PER_MEBIBYTE),
    (value) => value < 1,
  );
  for (const name of ["forkmap spawn", "child_process.fork"]) {
    harness.target(
      `small synchronous item: at most a tenth of the private dirty memory of ${name}`,
      harness.ratio(dirty, of(synchronous, name, "Private_Dirty")),
      (value) => value <= 0.1,
    );
  }
}

/** The KiB of each round. */
function of(wait, name, field) {
  return figures.get(harness.key({ group: wait, name }))?.map((held) => held[field]);
}
