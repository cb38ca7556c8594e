import initSqlJs from "sql.js";
import { Library } from "../library.mjs";

export class SqlJs extends Library {
  async use(n) {
    const { Database } = await initSqlJs();
    const database = new Database();
    const [{ values }] = database.exec(`select ${n} * 2, upper('a${n}')`);
    return values;
  }
}
