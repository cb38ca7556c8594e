/** The files of the page, read when they are first asked for: those of page/, and uPlot, which the build puts beside them. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { OWN_FOLDER } from "../../wire/stack-frames.js";

interface PageFile {
  readonly type: string;
  readonly content: Uint8Array;
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

export class PageFiles {
  #files: ReadonlyMap<string, PageFile> | undefined;

  /** A name that is no file's is never part of a path. */
  get(name: string): PageFile | undefined {
    return (this.#files ??= read()).get(name);
  }
}

function read(): Map<string, PageFile> {
  if (!OWN_FOLDER?.startsWith("file:")) {
    throw new Error(
      'forkmap has been bundled into the program, without the files of its dashboard: keep it an external package (`external: ["forkmap"]`).',
    );
  }
  const folder = fileURLToPath(`${OWN_FOLDER}supervisor/page/`);
  const files = new Map<string, PageFile>();
  for (const name of readdirSync(folder)) {
    const type = TYPES[name.slice(name.lastIndexOf(".") + 1)];
    if (type) files.set(name, { type, content: readFileSync(`${folder}${name}`) });
  }
  return files;
}
