import { JSDOM } from "jsdom";
import { Library } from "../library.mjs";

export class Jsdom extends Library {
  use(n) {
    const page = `<p></p><script>document.querySelector("p").textContent = ${n} * 2</script>`;
    const dom = new JSDOM(page, { runScripts: "dangerously" });
    const text = dom.window.document.querySelector("p").textContent;
    dom.window.close();
    return text;
  }
}
