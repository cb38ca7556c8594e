/** What optional packages are needed for, where they are not installed. */
import { cpSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { runScript } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

it("Prometheus says what to install, and OpenTelemetry nothing", async () => {
  const directory = temporaryDirectory();
  const dist = fileURLToPath(new URL("../../dist", import.meta.url));
  for (const folder of ["supervisor", "system"])
    cpSync(path.join(dist, folder), path.join(directory, folder), { recursive: true });
  writeFileSync(path.join(directory, "package.json"), '{ "type": "module" }');
  const script = path.join(directory, "script.js");
  writeFileSync(
    script,
    `import { observeByOpenTelemetry } from "./supervisor/open-telemetry.js";
    import { Prometheus } from "./supervisor/prometheus.js";
    const source = { collect: () => [] };
    console.log(await observeByOpenTelemetry(source));
    await Prometheus.of(source).catch(({ message, cause }) => console.log(message, cause.code));`,
  );
  expect(await runScript(script)).toEqual({
    code: 0,
    signal: null,
    stdout:
      "undefined\nMetrics for Prometheus need the package prom-client, an optional dependency that is not installed here: npm install prom-client ERR_MODULE_NOT_FOUND\n",
    stderr: "",
  });
});
