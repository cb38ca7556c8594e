/** koffi's binary is loaded without its JavaScript, as long as it is the version that was read. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { runScript } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

it("the installed version of koffi is loaded by its binary alone", async () => {
  const lock = JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string }>;
  };
  const file = path.join(temporaryDirectory(), "load.mjs");
  writeFileSync(
    file,
    `import { createRequire } from "node:module";
    import { loadKoffi } from ${JSON.stringify(path.join(ROOT, "dist/system/koffi.js"))};
    const koffi = loadKoffi();
    const files = Object.keys(createRequire(import.meta.url).cache).filter((each) => each.includes("koffi"));
    console.log(JSON.stringify({ version: koffi.version, files: files.map((each) => each.split("/").at(-1)) }));`,
  );
  const { stdout, stderr } = await runScript(file);
  expect(JSON.parse(stdout), stderr).toEqual({
    version: lock.packages["node_modules/koffi"]!.version,
    files: ["koffi.node"],
  });
});
