import fs from "node:fs";
import { Library } from "../library.mjs";

/** Lines of four digits, 1000 first; reading without a position moves the descriptor's offset. Each process writes its own. */
const file = `${process.env.SCRATCH}/lines-${process.pid}.txt`;
fs.writeFileSync(file, Array.from({ length: 1000 }, (_, i) => `${1000 + i}\n`).join(""));
const descriptor = fs.openSync(file);

export class ReadLine extends Library {
  static package = "node";
  static oneItemPerChild = true;
  static usedAtTopLevel = true;

  use() {
    const line = Buffer.alloc(5);
    fs.readSync(descriptor, line, 0, 5, null);
    return line.toString().trim();
  }
}
