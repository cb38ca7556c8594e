import { z } from "zod";
import { Library } from "../library.mjs";

const Schema = z.object({ n: z.number().int() });

export class Zod extends Library {
  use(n) {
    return [Schema.safeParse({ n }).success, Schema.safeParse({ n: `${n}` }).error.issues[0].code];
  }
}
