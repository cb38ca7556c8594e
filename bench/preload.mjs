/** How the time per item grows with what the fork server holds from `preload`: small objects, and large buffers. */
import { Parallel } from "forkmap";
import * as harness from "./harness.mjs";
import { Ballast } from "./workers/forkmap.mjs";

const COUNT = harness.size(100, 5);
/** After 75 forks the fork server moves its memory to huge pages, 2 MiB with each further one. */
const EARLY_COUNT = harness.size(70, 2);
const MOVING_COUNT = harness.size(400, 2);
const SIZES = harness.size([0, 16, 64, 256, 512], [0, 16]);
const HOWS = ["objects", "buffers"];
const STARTUP_TIMEOUT_MS = 300_000;

harness.introduce("preload");
/** ms per item before the fork server uses huge pages. */
const early = new Map();
const contenders = HOWS.flatMap((how) => SIZES.map((mebibytes) => ballast(how, mebibytes)));
const figures = await harness.race(contenders);
report();

/** One at a time, so that the time per item is the time from one fork to the next. */
function ballast(how, mebibytes) {
  const parallel = new Parallel(Object.assign(new Ballast(), { how, mebibytes }), {
    startMethod: "fork",
    concurrency: 1,
    execArgv: ["--max-old-space-size=4096"],
    startupTimeout: STARTUP_TIMEOUT_MS,
  });
  const run = async (count) => {
    const items = Array.from({ length: count }, (_, i) => i);
    const start = performance.now();
    harness.expectSame(await parallel.mapProcesses(items), items.map(String), "forkmap");
    return (performance.now() - start) / count;
  };
  return {
    group: how,
    name: `${mebibytes} MiB`,
    open: () => parallel.ready(),
    async warm() {
      await run(EARLY_COUNT / 2);
      early.set(`${how}: ${mebibytes} MiB`, await run(EARLY_COUNT / 2));
      await run(MOVING_COUNT);
    },
    run: () => run(COUNT),
    close: () => parallel.close(),
  };
}

function report() {
  for (const how of HOWS) {
    const of = (mebibytes) => figures.get(harness.key({ group: how, name: `${mebibytes} MiB` }));
    const racing = SIZES.filter(of);
    if (racing.length === 0) continue;
    harness.heading(
      `preload holds ${how === "objects" ? "small objects" : "buffers of 8 MiB"}; ${COUNT} items, one at a time`,
    );
    harness.table(
      [
        "preloaded",
        "ms per item, first 75",
        "ms per item, later",
        "min - max",
        "time / nothing preloaded",
        "ms more per 100 MiB",
      ],
      racing.map((mebibytes) => {
        const perItem = of(mebibytes);
        const more =
          of(0) && mebibytes > 0 ? of(mebibytes).map((ms, round) => ms - of(0)[round]) : undefined;
        return [
          `${mebibytes} MiB`,
          harness.digits(early.get(`${how}: ${mebibytes} MiB`)),
          harness.digits(harness.median(perItem)),
          harness.span(perItem),
          harness.times(harness.ratio(of(mebibytes), of(0))),
          more ? harness.digits((harness.median(more) / mebibytes) * 100) : "",
        ];
      }),
    );
  }
}
