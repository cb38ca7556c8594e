import Database from "better-sqlite3";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
import { Library } from "../library.mjs";

const numbers = sqliteTable("numbers", { n: integer() });

export class Drizzle extends Library {
  static package = "drizzle-orm";

  use(n) {
    const database = drizzle(new Database(":memory:"));
    database.run(sql`create table numbers (n integer)`);
    database
      .insert(numbers)
      .values([{ n }, { n: n + 1 }])
      .run();
    return database.select().from(numbers).all();
  }
}
