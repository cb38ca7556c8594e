import avro from "avsc";
import { Library } from "../library.mjs";

const type = avro.Type.forSchema({
  type: "record",
  name: "Item",
  fields: [
    { name: "n", type: "int" },
    { name: "name", type: "string" },
  ],
});

export class Avsc extends Library {
  use(n) {
    return type.toBuffer({ n, name: `item ${n}` }).toString("hex");
  }
}
