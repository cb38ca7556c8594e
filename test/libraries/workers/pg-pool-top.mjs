import { PgPool } from "./pg-pool.mjs";

export class PgPoolAtTop extends PgPool {
  static package = "pg";
  static usedAtTopLevel = true;
}

await new PgPool().use(0);
