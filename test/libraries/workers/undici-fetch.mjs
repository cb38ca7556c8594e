import { fetch } from "undici";
import { Library } from "../library.mjs";

export class UndiciFetch extends Library {
  static package = "undici";

  async use(n) {
    const response = await fetch(`${process.env.HTTP_URL}/price/${n}`);
    return await response.text();
  }
}
