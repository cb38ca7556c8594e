/** All benches, one after the other, each in a process of its own; passes its flags on. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const BENCHES = [
  "isolation",
  "calls",
  "throughput",
  "command",
  "cpu",
  "io",
  "memory",
  "payload",
  "preload",
  "queue",
  "queue-scale",
  "serve",
  "accept",
  "serve-http",
  "start",
  "supervised",
];

for (const name of BENCHES) {
  const file = fileURLToPath(new URL(`${name}.mjs`, import.meta.url));
  const { status, signal } = spawnSync(process.execPath, [file, ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  if (status !== 0) {
    console.error(`${name} ended with ${signal ?? `exit code ${status}`}`);
    process.exit(1);
  }
  console.log();
}
