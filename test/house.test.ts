import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/**
 * What each room of `src/` may import, from the ground up: a room names only rooms above its own line, so no two can
 * depend on each other. The map of the rooms in CONTRIBUTING.md says what is in them.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  system: ["errors"],
  worker: ["errors", "system"],
  observe: ["errors", "system", "worker"],
  options: ["errors", "worker"],
  wire: ["errors", "observe", "options", "system", "worker"],
  launch: ["errors", "options", "system", "wire", "worker"],
  // A child process that runs threads is a parent to them.
  child: ["launch/thread", "options", "system", "wire", "worker"],
  journal: ["errors", "system", "wire", "worker"],
  pool: ["errors", "launch", "observe", "options", "system", "wire", "worker"],
  call: ["errors", "journal", "launch", "observe", "options", "pool", "system", "wire", "worker"],
  cli: ["call", "errors", "launch", "options", "wire"],
  "check-options": ["options", "pool", "system", "wire"],
  parallel: ["call", "check-options", "errors", "launch", "observe", "options", "system", "worker"],
  index: ["errors", "observe", "options", "parallel", "system", "worker"],
};

/** `parallel.ts` holds the TSDoc of every verb. */
const LONGEST_FILE = 300;
const MAY_BE_LONGER = new Set(["parallel.ts"]);

const files = filesIn("src").filter((file) => file.endsWith(".ts"));

describe("the imports of src/", () => {
  it.each(Object.keys(MAY_IMPORT))("of %s go down", (room) => {
    const offending = files
      .filter((file) => roomOf(file) === room)
      .flatMap((file) => importsOf(file).map((imported) => [file, imported] as const))
      .filter(([, imported]) => roomOf(imported) !== room && !mayImport(room, imported))
      .map(([file, imported]) => `src/${file} imports src/${imported}`);
    expect(offending).toEqual([]);
  });

  it("have a room for every file", () => {
    expect(files.filter((file) => MAY_IMPORT[roomOf(file)] === undefined)).toEqual([]);
  });

  it("cannot go in circles between rooms", () => {
    const rooms = Object.keys(MAY_IMPORT);
    for (const [place, room] of rooms.entries()) {
      const below = rooms.slice(0, place);
      expect(below, room).toEqual(
        expect.arrayContaining(MAY_IMPORT[room]!.map((name) => name.split("/")[0])),
      );
    }
  });
});

describe("a file of src/", () => {
  it(`has at most ${LONGEST_FILE} lines`, () => {
    const long = files.filter((file) => !MAY_BE_LONGER.has(file) && linesOf(file) > LONGEST_FILE);
    expect(long).toEqual([]);
  });

  it("opens with what it owns", () => {
    expect(files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(read(`src/${file}`)))).toEqual([]);
  });

  it("names only files that exist", () => {
    const names = new Set(files.map((file) => path.basename(file)));
    const unknown = files.flatMap((file) =>
      Array.from(
        read(`src/${file}`).matchAll(/(?<![\w./*-])(?:[\w-]+\/)*[\w-]+\.ts\b/g),
        ([name]) => name,
      )
        .filter((name) => !names.has(path.basename(name)) && !isExample(name))
        .map((name) => `src/${file} names ${name}`),
    );
    expect(unknown).toEqual([]);
  });
});

it("test/ mirrors src/", () => {
  const apart = new Set(["fixtures", "libraries", "support", "survival"]);
  const folders = filesIn("test")
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => path.dirname(file))
    .filter((folder) => !apart.has(folder.split("/")[0]!));
  const strange = [...new Set(folders)].filter(
    (folder) => !existsSync(path.join(ROOT, "src", folder)),
  );
  expect(strange).toEqual([]);
});

it("CONTRIBUTING.md has a line for every folder of src/ and for every file beside them", () => {
  const map = read("CONTRIBUTING.md");
  const rooms = readdirSync(path.join(ROOT, "src")).map((name) =>
    statSync(path.join(ROOT, "src", name)).isDirectory() ? `\`src/${name}/\`` : `\`${name}\``,
  );
  expect(rooms.filter((room) => !map.includes(room))).toEqual([]);
});

function mayImport(room: string, imported: string): boolean {
  return MAY_IMPORT[room]!.some(
    (allowed) => imported === `${allowed}.ts` || imported.startsWith(`${allowed}/`),
  );
}

/** The folder of a file, or its name without ending when it stands in none. */
function roomOf(file: string): string {
  return file.split("/")[0]!.replace(/\.ts$/, "");
}

/** Types count, and so does what is imported when it is needed. */
function importsOf(file: string): string[] {
  const imports = read(`src/${file}`).matchAll(/\b(?:from|import\(|import)\s*"(\.[^"]+)\.js"/g);
  return Array.from(imports, ([, specifier]) => path.join(path.dirname(file), `${specifier}.ts`));
}

function linesOf(file: string): number {
  return read(`src/${file}`).split("\n").length - 1;
}

/** Files of the user's in examples. */
function isExample(name: string): boolean {
  return !name.includes("/") && read("README.md").includes(name);
}

function filesIn(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => !file.includes("node_modules"))
    .sort();
}

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), "utf8");
}
