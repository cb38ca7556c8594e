import pug from "pug";
import { Library } from "../library.mjs";

export class Pug extends Library {
  use(n) {
    return pug.render("p= n * 2", { n });
  }
}
