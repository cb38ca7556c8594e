import { Agent, request } from "undici";
import { Library } from "../library.mjs";

const dispatcher = new Agent();

export class UndiciAgent extends Library {
  static package = "undici";

  async use(n) {
    const { body } = await request(`${process.env.HTTP_URL}/price/${n}`, { dispatcher });
    return await body.text();
  }
}
