/**
 * Metrics of a fleet, by the durable number of its instances: each keeps its metrics in the file of its num, and one page shows them all. However
 * often instances are restarted, there are as many files, and as many series, as there are instances. Named by pid, both would grow for ever.
 *
 *     npm run build:examples && DIRECTORY=/tmp/metrics PORT=9100 node build/examples/metrics.js
 *     curl localhost:9100/metrics
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Controller, type Instance, Service } from "forkmap/container";
import { AggregatorRegistry, Counter, Gauge, Registry } from "prom-client";

const DIRECTORY = process.env["DIRECTORY"] ?? "/tmp/forkmap-metrics";
const WRITE_MS = Number(process.env["WRITE_MS"] ?? 1000);

/** Does some work, and counts it. */
export class Job extends Service {
  async run(instance: Instance): Promise<void> {
    const registry = new Registry();
    // The num is a label that stays: 0 to 3. A pid would be a new series with each restart.
    registry.setDefaultLabels({ instance: String(instance.num) });
    const jobs = new Counter({ name: "jobs_total", help: "Jobs done.", registers: [registry] });
    const restarts = new Gauge({
      name: "instance_generation",
      help: "How many processes the instance has had.",
      registers: [registry],
    });
    restarts.set(instance.generation);
    instance.ready();
    while (!instance.signal.aborted) {
      jobs.inc();
      await write(instance, registry);
      instance.healthy(`${instance.name} ${instance.num}`);
      await sleep(WRITE_MS, undefined, { signal: instance.signal }).catch(() => {});
    }
    await write(instance, registry);
  }
}

/** Shows the metrics of all instances as one page. */
export class Page extends Service {
  async run(instance: Instance): Promise<void> {
    const server = http.createServer((_, response) => void show(response));
    await instance.serve(server, "metrics");
  }
}

async function show(response: http.ServerResponse): Promise<void> {
  const files = readdirSync(DIRECTORY).filter((name) => /^\d+\.json$/.test(name));
  const metrics = files.map((name) => JSON.parse(readFileSync(path.join(DIRECTORY, name), "utf8")));
  response.setHeader("content-type", Registry.PROMETHEUS_CONTENT_TYPE);
  response.end(await AggregatorRegistry.aggregate(metrics).metrics());
}

/**
 * Writes the file of this num. It is renamed into place, so that a reader never sees half of it; and until then it has the generation in its name, as
 * a predecessor that is being killed may still write: num and generation together never repeat.
 */
async function write({ num, generation }: Instance, registry: Registry): Promise<void> {
  const draft = path.join(DIRECTORY, `${num}-${generation}.draft`);
  writeFileSync(draft, JSON.stringify(await registry.getMetricsAsJSON()));
  renameSync(draft, path.join(DIRECTORY, `${num}.json`));
}

mkdirSync(DIRECTORY, { recursive: true });
const controller = new Controller(
  (container) => {
    container.run(new Job(), {
      count: 4,
      name: "job",
      restart: "always",
      healthCheckTimeout: 30_000,
    });
    container.spawn(new Page(), { name: "page", key: "page", restart: "always" });
  },
  {
    sockets: { metrics: { host: "127.0.0.1", port: Number(process.env["PORT"] ?? 9100) } },
  },
);
await controller.run();
