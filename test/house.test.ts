import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/**
 * The parts of `src/`, from the ground up, and what each may import besides its own files. A part may only name parts above
 * its own line, so no two parts can depend on each other. A file belongs to the longest name that fits its path.
 * CONTRIBUTING.md says what is in each.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  system: ["errors"],
  worker: ["errors", "system"],
  observe: ["errors", "system", "worker"],
  options: ["errors", "worker"],
  wire: ["errors", "options", "system", "worker"],
  launch: ["errors", "options", "system", "wire", "worker"],
  "launch/spawn": ["errors", "launch", "system", "wire", "worker"],
  "launch/fork": ["errors", "launch", "launch/spawn", "system", "wire", "worker"],
  "launch/thread": ["errors", "launch", "options", "system", "wire", "worker"],
  "launch/program": ["errors", "launch", "observe", "options", "system", "wire", "worker"],
  "launch/process-choice": [
    "errors",
    "launch",
    "launch/fork",
    "launch/spawn",
    "launch/thread",
    "options",
    "system",
    "wire",
    "worker",
  ],
  "launch/choices": [
    "launch",
    "launch/process-choice",
    "launch/program",
    "launch/thread",
    "options",
    "worker",
  ],
  "child/libc": ["system"],
  "option-rules": ["options", "system", "wire"],
  // What a program of services is made of; an instance that runs threads is a container itself.
  container: [
    "errors",
    "launch",
    "launch/choices",
    "launch/program",
    "observe",
    "option-rules",
    "options",
    "system",
    "wire",
    "worker",
  ],
  // A child process that runs threads is their parent.
  "child/items": ["child/libc", "launch/thread", "options", "system", "wire", "worker"],
  "child/supervised": ["child/items", "child/libc", "system", "wire", "worker"],
  "child/find": ["child/items", "system", "wire", "worker"],
  "child/service": [
    "child/items",
    "child/libc",
    "container",
    "launch/thread",
    "options",
    "system",
    "wire",
    "worker",
  ],
  "child/fork": [
    "child/find",
    "child/items",
    "child/libc",
    "child/service",
    "child/supervised",
    "system",
    "wire",
    "worker",
  ],
  child: [
    "child/find",
    "child/fork",
    "child/items",
    "child/libc",
    "child/service",
    "child/supervised",
    "options",
    "system",
    "wire",
    "worker",
  ],
  // Runs as a service, and finds its monitors as services are found.
  supervisor: [
    "child/find",
    "container",
    "errors",
    "observe",
    "option-rules",
    "options",
    "system",
    "wire",
    "worker",
  ],
  journal: ["errors", "options", "system", "wire", "worker"],
  pool: ["errors", "launch", "observe", "options", "system", "wire", "worker"],
  call: ["errors", "journal", "launch", "observe", "options", "pool", "system", "wire", "worker"],
  "check-options": ["option-rules", "options", "pool", "system", "wire"],
  queue: [
    "call",
    "check-options",
    "errors",
    "journal",
    "launch",
    "launch/choices",
    "observe",
    "option-rules",
    "options",
    "pool",
    "system",
    "wire",
    "worker",
  ],
  cli: [
    "call",
    "container",
    "errors",
    "launch",
    "launch/program",
    "options",
    "queue",
    "system",
    "wire",
    "worker",
  ],
  parallel: [
    "call",
    "check-options",
    "errors",
    "launch/choices",
    "observe",
    "options",
    "system",
    "worker",
  ],
  index: ["errors", "observe", "options", "parallel", "system", "worker"],
};

/** `parallel.ts` holds the TSDoc of every verb. */
const LONGEST_FILE = 300;
const MAY_BE_LONGER = new Set(["parallel.ts"]);

const files = filesIn("src").filter((file) => file.endsWith(".ts"));

describe("imports in src/", () => {
  it.each(Object.keys(MAY_IMPORT))("of the part %s go down", (part) => {
    const offending = files
      .filter((file) => partOf(file) === part)
      .flatMap((file) => importsOf(file).map((imported) => ({ file, imported })))
      .filter(({ imported }) => ![part, ...MAY_IMPORT[part]!].includes(partOf(imported)!))
      .map(({ file, imported }) => `src/${file} imports src/${imported}`);
    expect(offending).toEqual([]);
  });

  it("belong to files that have a part", () => {
    expect(files.filter((file) => partOf(file) === undefined)).toEqual([]);
  });

  it("cannot go round between parts: a part names only parts above its line", () => {
    const parts = Object.keys(MAY_IMPORT);
    const up = parts.flatMap((part, line) =>
      MAY_IMPORT[part]!.filter((allowed) => !parts.slice(0, line).includes(allowed)).map(
        (allowed) => `${part} may import ${allowed}`,
      ),
    );
    expect(up).toEqual([]);
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

describe("a folder of src/", () => {
  const folders = [...new Set(files.map((file) => path.dirname(file)))].filter(
    (folder) => folder !== "." && files.filter((file) => path.dirname(file) === folder).length > 1,
  );

  it.each(folders)("%s says in the opening comment of one file what it holds", (folder) => {
    const main = files
      .filter((file) => path.dirname(file) === folder)
      .filter((file) =>
        /^(?:#!.*\n)?\/\*\*(?:(?!\*\/).)*\bThe[\s*]+folder[\s*]+holds\b/s.test(read(`src/${file}`)),
      );
    expect(main).toHaveLength(1);
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

it("CONTRIBUTING.md names only files of src/ that exist", () => {
  const names = Array.from(
    read("CONTRIBUTING.md").matchAll(/`([\w/-]+\.ts)`/g),
    ([, name]) => name!,
  );
  const unknown = names.filter(
    (name) =>
      !files.some((file) => `/${file}`.endsWith(`/${name}`)) && !/^(?:src|test)\//.test(name),
  );
  const gone = names.filter(
    (name) => /^(?:src|test)\//.test(name) && !existsSync(path.join(ROOT, name)),
  );
  expect([...unknown, ...gone]).toEqual([]);
});

it("CONTRIBUTING.md has a line for every folder of src/ and for every file beside them", () => {
  const map = read("CONTRIBUTING.md");
  const parts = readdirSync(path.join(ROOT, "src")).map((name) =>
    statSync(path.join(ROOT, "src", name)).isDirectory() ? `\`src/${name}/\`` : `\`${name}\``,
  );
  expect(parts.filter((part) => !map.includes(part))).toEqual([]);
});

function partOf(file: string): string | undefined {
  return Object.keys(MAY_IMPORT)
    .filter((part) => file === `${part}.ts` || file.startsWith(`${part}/`))
    .toSorted((a, b) => b.length - a.length)[0];
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
