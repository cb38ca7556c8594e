import * as yaml from "js-yaml";
import { Library } from "../library.mjs";

export class JsYaml extends Library {
  use(n) {
    return yaml.load(yaml.dump({ n, list: [n, { deep: `${n}` }] }));
  }
}
