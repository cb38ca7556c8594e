/** Puts the page of the dashboard into dist/: its sources, which need no build, and uPlot, which draws its plots, with its licence. */
import { cpSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("../src/supervisor/page", import.meta.url));
const TARGET = fileURLToPath(new URL("../dist/supervisor/page", import.meta.url));
const UPLOT = dirname(createRequire(import.meta.url).resolve("uplot/package.json"));

mkdirSync(TARGET, { recursive: true });
cpSync(SOURCE, TARGET, { recursive: true, filter: (file) => !file.endsWith("tsconfig.json") });
for (const name of ["uPlot.iife.min.js", "uPlot.min.css"]) {
  cpSync(`${UPLOT}/dist/${name}`, `${TARGET}/${name}`);
}
cpSync(`${UPLOT}/LICENSE`, `${TARGET}/uPlot.LICENSE`);
