import _ from "lodash";
import { Library } from "../library.mjs";

export class Lodash extends Library {
  use(n) {
    return [
      _.chunk(_.range(n), 3),
      _.camelCase(`item number ${n}`),
      _.template("<%= n %>!")({ n }),
    ];
  }
}
