import { got } from "got";
import { Library } from "../library.mjs";

export class Got extends Library {
  async use(n) {
    return await got(`${process.env.HTTP_URL}/price/${n}`).text();
  }
}
