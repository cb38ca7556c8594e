import { once } from "node:events";
import express from "express";
import { Library } from "../library.mjs";

export class Express extends Library {
  async use(n) {
    const app = express();
    app.get("/double/:n", (request, response) => response.json(2 * Number(request.params.n)));
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    const response = await fetch(`http://127.0.0.1:${server.address().port}/double/${n}`);
    const doubled = await response.json();
    server.closeAllConnections();
    server.close();
    return doubled;
  }
}
