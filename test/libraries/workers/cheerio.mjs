import { load } from "cheerio";
import { Library } from "../library.mjs";

export class Cheerio extends Library {
  use(n) {
    const $ = load(`<ul><li>${n}</li><li>x</li></ul>`);
    $("li")
      .last()
      .text(`${n * 2}`);
    return $.html();
  }
}
