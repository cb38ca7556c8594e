import pino from "pino";
import { Library } from "../library.mjs";

export class Pino extends Library {
  use(n) {
    const lines = [];
    const log = pino(
      { base: { pid: process.pid }, timestamp: false },
      { write: (line) => lines.push(line) },
    );
    log.child({ n }).info("item");
    return { ...JSON.parse(lines[0]), pid: JSON.parse(lines[0]).pid === process.pid };
  }
}
