import Database from "better-sqlite3";
import { Library } from "../library.mjs";

export class Sqlite extends Library {
  use(n) {
    const database = new Database(":memory:");
    database.exec("create table numbers (n integer)");
    const insert = database.prepare("insert into numbers values (?)");
    for (let i = 0; i <= n; i += 1) insert.run(i);
    return database.prepare("select count(*) as count, sum(n) as sum from numbers").get();
  }
}
