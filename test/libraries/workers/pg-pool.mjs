import pg from "pg";
import { Library } from "../library.mjs";

const pool = new pg.Pool({ host: "127.0.0.1", port: Number(process.env.PG_PORT), user: "u" });

export class PgPool extends Library {
  static package = "pg";

  async use(n) {
    const { rows } = await pool.query(`select 'k${n}' as a`);
    return rows[0].a;
  }
}
