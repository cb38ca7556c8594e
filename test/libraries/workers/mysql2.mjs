import { once } from "node:events";
import mysql from "mysql2";
import { Library } from "../library.mjs";

export class MySql extends Library {
  async use(n) {
    const server = mysql.createServer();
    server.on("connection", (connection) => {
      connection.on("error", () => {}); // The client just leaves.
      connection.serverHandshake({
        protocolVersion: 10,
        serverVersion: "8.0.0",
        connectionId: 1,
        statusFlags: 2,
        characterSet: 8,
        capabilityFlags: 0xffffff ^ 0x000800,
        authCallback: (_, done) => done(null),
      });
      connection.on("query", (sql) => {
        const columns = [
          {
            catalog: "def",
            schema: "",
            table: "",
            orgTable: "",
            name: "a",
            orgName: "a",
            characterSet: 33,
            columnLength: 99,
            columnType: 253,
            flags: 0,
            decimals: 0,
          },
        ];
        connection.writeTextResult([{ a: `answer to ${sql}` }], columns);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server._server, "listening");
    const { port } = server._server.address();
    const client = mysql.createConnection({ host: "127.0.0.1", port, user: "u", ssl: undefined });
    const [rows] = await client.promise().query(`select ${n}`);
    client.destroy();
    server.close();
    return rows[0].a;
  }
}
