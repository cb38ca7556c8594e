import Ajv from "ajv";
import { Library } from "../library.mjs";

export class Ajv2020 extends Library {
  static package = "ajv";

  use(n) {
    const validate = new Ajv().compile({
      type: "object",
      properties: { n: { type: "number", maximum: 5 } },
    });
    return [validate({ n }), validate.errors?.[0].message ?? null];
  }
}
