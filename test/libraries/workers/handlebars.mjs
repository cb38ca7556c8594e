import handlebars from "handlebars";
import { Library } from "../library.mjs";

export class Handlebars extends Library {
  use(n) {
    return handlebars.compile("{{#each list}}<{{this}}>{{/each}}")({ list: [n, n + 1] });
  }
}
