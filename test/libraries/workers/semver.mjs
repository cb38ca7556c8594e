import semver from "semver";
import { Library } from "../library.mjs";

export class Semver extends Library {
  use(n) {
    return [semver.satisfies(`1.${n}.0`, "^1.5.0"), semver.inc(`1.${n}.0`, "minor")];
  }
}
