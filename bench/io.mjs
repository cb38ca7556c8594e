/** Items that wait for the network: fibers in two processes, compared with as many requests at once in one process. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Parallel } from "forkmap";
import pMap from "p-map";
import * as harness from "./harness.mjs";
import { Fetch } from "./workers/forkmap-pool-network.mjs";

const { atMost, ratio, target } = harness;
const WIDTH = 2;
const FIBERS = 50;
const LATENCY_MS = 20;
const COUNT = harness.size(1_000, 100);
const OURS = `forkmap pool, ${WIDTH} slots x ${FIBERS} fibers`;
const P_MAP = `p-map, concurrency ${WIDTH * FIBERS}`;

const PEERS = {
  [OURS]: () => {
    const parallel = new Parallel(new Fetch(), { pool: WIDTH, fibers: FIBERS });
    return { map: (urls) => parallel.mapProcesses(urls), close: () => parallel.close() };
  },
  [P_MAP]: () => {
    const worker = new Fetch();
    return {
      map: (urls) => pMap(urls, (url) => worker.process(url), { concurrency: WIDTH * FIBERS }),
    };
  },
};

const server = fork(fileURLToPath(new URL("workers/http-server.mjs", import.meta.url)), [
  String(LATENCY_MS),
]);
const [origin] = await once(server, "message");
const paths = Array.from({ length: COUNT }, (_, i) => `/${i}`);
const urls = paths.map((path) => origin + path);

harness.introduce("io");
const figures = await harness.race(
  Object.entries(PEERS).map(([name, make]) => contender(name, make)),
);
server.disconnect();
report();

function contender(name, make) {
  let peer;
  const run = async () => harness.expectSame(await peer.map(urls), paths, name);
  return {
    name,
    open: () => (peer = make()),
    // This opens the connections. Node keeps an idle one for 4 s, which covers the time between two turns.
    warm: run,
    run,
    close: () => peer.close?.(),
  };
}

function report() {
  harness.heading(`${COUNT} requests over loopback, answered after ${LATENCY_MS} ms`);
  harness.table(
    ["", "ms in all", "min - max", "requests/s", `time / ${P_MAP}`],
    Object.keys(PEERS)
      .filter((name) => figures.has(name))
      .map((name) => {
        const ms = figures.get(name);
        return [
          name,
          harness.digits(harness.median(ms)),
          harness.span(ms),
          harness.digits((COUNT * 1000) / harness.median(ms)),
          harness.times(ratio(ms, figures.get(P_MAP))),
        ];
      }),
  );

  harness.heading("targets");
  target(
    `${OURS}: within 15% of ${P_MAP}`,
    ratio(figures.get(OURS), figures.get(P_MAP)),
    atMost(1.15),
  );
}
