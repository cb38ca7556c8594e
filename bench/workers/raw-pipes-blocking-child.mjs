/** As raw-pipes-child.mjs without an event loop: it reads and writes by blocking, so the work could not await. */
import { readSync, writeSync } from "node:fs";
import double from "./double.cjs";

const buffer = Buffer.allocUnsafe(64 * 1024);
let rest = "";
for (let count; (count = readSync(0, buffer)) > 0;) {
  // JSON of numbers is ASCII.
  const lines = (rest + buffer.latin1Slice(0, count)).split("\n");
  rest = lines.pop();
  if (lines.length > 0) writeAll(Buffer.from(lines.map(answer).join("")));
}

function answer(line) {
  const items = JSON.parse(line);
  const results = new Array(items.length);
  for (let i = 0; i < items.length; i += 1) results[i] = double(items[i]);
  return `${JSON.stringify(results)}\n`;
}

function writeAll(bytes) {
  for (let written = 0; written < bytes.length; written += writeSync(1, bytes, written));
}
