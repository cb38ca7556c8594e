/** An update or a clean-up removes the package's files while a program runs. */
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { expect, it } from "vitest";
import { fixture, runScript } from "./support/run-script.js";
import { temporaryDirectory } from "./support/temporary.js";

it.each([
  [{}, /^done$/],
  [{ startMethod: "spawn" }, /^LaunchError: .* it was removed while the program ran: there is no /],
  [{ startMethod: "spawn", pool: 1 }, /^LaunchError: .* it was removed while the program ran/],
])("a call of %o ends", async (options, expected) => {
  const folder = temporaryDirectory();
  const modules = path.join(folder, "node_modules");
  const own = path.join(modules, "forkmap");
  mkdirSync(own, { recursive: true });
  for (const name of ["dist", "package.json"])
    cpSync(path.join(ROOT, name), path.join(own, name), { recursive: true });
  for (const name of ["koffi", "fast-json-stable-stringify"])
    symlinkSync(path.join(ROOT, "node_modules", name), path.join(modules, name));
  const script = path.join(folder, "removed.mjs");
  cpSync(fixture("programs/removed.mjs"), script);
  const ran = await runScript(script, { args: [own, JSON.stringify(options)] });
  expect(ran).toMatchObject({ code: 0, stderr: "" });
  expect(ran.stdout.trim()).toMatch(expected);
});

const ROOT = path.dirname(createRequire(import.meta.url).resolve("forkmap/package.json"));
