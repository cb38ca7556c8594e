import { Library } from "../library.mjs";

export class Fetch extends Library {
  static package = "node";

  async use(n) {
    const response = await fetch(`${process.env.HTTP_URL}/price/${n}`);
    return await response.text();
  }
}
