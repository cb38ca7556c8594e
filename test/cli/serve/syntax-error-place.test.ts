import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { temporaryDirectory } from "../../support/temporary.js";
import { runCli } from "../run-cli.js";

const BROKEN = "export const a = 1;\nexport const b = ;\n";

it.each([
  ["that is broken", { "main.mjs": BROKEN }, "main.mjs:2"],
  ["that imports it", { "main.mjs": 'import "./b.mjs";\n', "b.mjs": BROKEN }, "b.mjs:2"],
  ["that is CommonJS", { "main.cjs": "const a = 1;\nconst b = ;\n" }, "main.cjs:2"],
  [
    "that imports a name that is not there",
    { "main.mjs": 'import { nope } from "node:fs";\n' },
    "main.mjs:1",
  ],
])("forkmap serve says the file and the line of a module %s", async (_, files, place) => {
  const folder = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  const main = path.join(folder, Object.keys(files)[0]!);
  const { code, stdout, stderr } = await runCli(["serve", main]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  const [first, ...rest] = stderr.trimEnd().split("\n");
  expect(first).toContain(`${main} could not be loaded: SyntaxError: `);
  expect(rest).toHaveLength(1);
  expect(rest[0]).toMatch(/^ {4}at \/|^ {4}at file:\/\/\//);
  expect(rest[0]!.endsWith(`/${place}`), rest[0]).toBe(true);
});

it.each([
  ["nothing of what a broken module imports", "", 0],
  ["a module whose code imports a broken one once", 'await import("./broken.mjs");\n', 1],
])("runs %s", async (_, main, times) => {
  const folder = temporaryDirectory();
  const counted = path.join(folder, "counted");
  const counts = `import { appendFileSync } from "node:fs";\nappendFileSync(${JSON.stringify(counted)}, "x");\n`;
  writeFileSync(path.join(folder, "counts.mjs"), counts);
  writeFileSync(path.join(folder, "broken.mjs"), BROKEN);
  writeFileSync(path.join(folder, "main.mjs"), `import "./counts.mjs";\n${main || BROKEN}`);
  const { code, stderr } = await runCli(["serve", path.join(folder, "main.mjs")]);
  expect(code).toBe(1);
  expect(stderr).toContain("/main.mjs could not be loaded: SyntaxError: ");
  expect(stderr).not.toContain("node:");
  if (times === 0) expect(stderr).toContain("/main.mjs:3\n");
  expect(existsSync(counted) ? readFileSync(counted, "utf8") : "").toBe("x".repeat(times));
});
