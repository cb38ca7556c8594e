import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { Library } from "../library.mjs";

export class WebSockets extends Library {
  async use(n) {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    server.on("connection", (socket) => socket.on("message", (data) => socket.send(`${data}!`)));
    await once(server, "listening");
    const client = new WebSocket(`ws://127.0.0.1:${server.address().port}`);
    await once(client, "open");
    client.send(`message ${n}`);
    const [answer] = await once(client, "message");
    client.terminate();
    server.close();
    return answer.toString();
  }
}
