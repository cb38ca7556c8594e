import pg from "pg";
import { Library } from "../library.mjs";

let client;

async function connect() {
  const port = Number(process.env.PG_PORT);
  const connecting = new pg.Client({ host: "127.0.0.1", port, user: "u" });
  await connecting.connect();
  return connecting;
}

export class PgClient extends Library {
  static package = "pg";

  async use(n) {
    client ??= await connect();
    const { rows } = await client.query(`select 'k${n}' as a`);
    return rows[0].a;
  }
}
