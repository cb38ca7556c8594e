import { PgClient } from "./pg-client.mjs";

export class PgClientAtTop extends PgClient {
  static package = "pg";
  static usedAtTopLevel = true;
}

await new PgClient().use(0);
