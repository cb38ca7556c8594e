import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Library } from "../library.mjs";

export class ChildProcess extends Library {
  static package = "node";

  async use(n) {
    const { stdout } = await promisify(execFile)("/bin/sh", ["-c", `echo $((${n} * 2))`]);
    return stdout.trim();
  }
}
