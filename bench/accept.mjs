/** Who accepts: one socket for all instances, with and without balance, beside a socket for each (SO_REUSEPORT). */
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Container } from "forkmap/container";
import * as harness from "./harness.mjs";
import { Acceptor } from "./workers/acceptors.mjs";

const INSTANCES = 4;
const CONNECTIONS = 64;
const MEAN = CONNECTIONS / INSTANCES;
/** How long a client waits. */
const PATIENCE_MS = 1000;
const FROZEN_CONNECTIONS = harness.size(64, 8);
const CHURN_MS = harness.size(2000, 50);
const WAYS = {
  "one socket, balanced (`serve`)": "balanced",
  "one socket, the kernel alone": "shared",
  "a socket for each (SO_REUSEPORT)": "reuseport",
};
const [OURS, KERNEL, REUSEPORT] = Object.keys(WAYS);

const AT_ONCE = "64 connections at once, kept open: the busiest / the mean";
const ONE_BY_ONE = "64 connections 2 ms apart, kept open: the busiest / the mean";
const FROZEN = "one of four is frozen: connections without an answer within 1 s, %";
const CHURN = "connections a second, one request each, 16 at a time";

harness.introduce("accept");
const fleets = new Map();
const figures = await harness.race(
  Object.entries(WAYS).flatMap(([name, way]) => [
    contender(AT_ONCE, name, way, (port) => busiest(port, 0)),
    contender(ONE_BY_ONE, name, way, (port) => busiest(port, 2)),
    contender(FROZEN, name, way, unanswered),
    contender(CHURN, name, way, churn),
  ]),
);
await Promise.all(
  [...fleets.values()].map(async (fleet) => await (await fleet).container.stop(false)),
);

for (const group of [AT_ONCE, ONE_BY_ONE, FROZEN, CHURN]) {
  harness.heading(group);
  const rows = Object.keys(WAYS).flatMap((name) => {
    const values = figures.get(harness.key({ group, name }));
    return values ? [[name, harness.digits(harness.median(values)), harness.span(values)]] : [];
  });
  if (rows.length > 0) harness.table(["", "median", "min - max"], rows);
}
harness.heading("targets");
const of = (group, name = OURS) => figures.get(harness.key({ group, name }));
for (const group of [AT_ONCE, ONE_BY_ONE]) {
  const measured = of(group) && harness.median(of(group));
  harness.target(`${group} at most 1.5`, measured, harness.atMost(1.5));
}
harness.target(
  `${CHURN}: as many as the kernel alone`,
  harness.ratio(of(CHURN), of(CHURN, KERNEL)),
  harness.atLeast(0.95),
);
harness.target(
  `${CHURN}: as many as with SO_REUSEPORT`,
  harness.ratio(of(CHURN), of(CHURN, REUSEPORT)),
  harness.atLeast(0.95),
);

function contender(group, name, way, measure) {
  return {
    group,
    name,
    async open() {
      if (!fleets.has(way)) fleets.set(way, start(way));
      await fleets.get(way);
    },
    async run() {
      const { port, container } = await fleets.get(way);
      return await measure(port, container);
    },
  };
}

async function start(way) {
  const port = way === "reuseport" ? await freePort() : 0;
  const sockets = way === "reuseport" ? {} : { http: { host: "127.0.0.1", port } };
  const container = new Container({ sockets });
  container.run(new Acceptor(way, port), { count: INSTANCES });
  await container.waitUntilReady();
  return { container, port: port || container.address("http").port };
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function busiest(port, gapMs) {
  const asked = [];
  for (let i = 0; i < CONNECTIONS; i += 1) {
    asked.push(ask(port));
    if (gapMs > 0) await sleep(gapMs);
  }
  const answers = await Promise.all(asked);
  const counts = Array.from(
    { length: INSTANCES },
    (_, num) => answers.filter((each) => each.num === num).length,
  );
  for (const { socket } of answers) socket.destroy();
  await sleep(50);
  return Math.max(...counts) / MEAN;
}

async function unanswered(port, container) {
  const { pid } = container.instances[1];
  process.kill(pid, "SIGSTOP");
  try {
    const asked = Array.from({ length: FROZEN_CONNECTIONS }, () => ask(port));
    let answered = 0;
    for (const each of asked) void each.then(() => (answered += 1));
    await sleep(PATIENCE_MS);
    const missing = FROZEN_CONNECTIONS - answered;
    process.kill(pid, "SIGCONT");
    for (const { socket } of await Promise.all(asked)) socket.destroy();
    return (100 * missing) / FROZEN_CONNECTIONS;
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

async function churn(port) {
  const end = performance.now() + CHURN_MS;
  let done = 0;
  await harness.inParallel(16, 16, async () => {
    while (performance.now() < end) {
      const { socket } = await ask(port);
      socket.destroy();
      done += 1;
    }
  });
  return (1000 * done) / CHURN_MS;
}

/** Opens a connection, asks once, and leaves it open. */
async function ask(port) {
  const socket = net.connect(port, "127.0.0.1");
  socket.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
  let text = "";
  while (!/\r\n\r\n(1\r\n)?\d/.test(text)) text += (await once(socket, "data"))[0];
  return { num: Number(/\r\n\r\n(?:1\r\n)?(\d)/.exec(text)[1]), socket };
}
