import { Pool } from "undici";
import { Library } from "../library.mjs";

const pool = new Pool(process.env.HTTP_URL);

export class UndiciPool extends Library {
  static package = "undici";

  async use(n) {
    const { body } = await pool.request({ path: `/price/${n}`, method: "GET" });
    return await body.text();
  }
}
