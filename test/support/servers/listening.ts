/** A server on the loopback interface for the duration of a test. */
import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";

export interface Listening {
  readonly port: number;
  close(): Promise<void>;
}

export async function listening(server: Server): Promise<Listening> {
  const connections = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => connections.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      for (const socket of connections) socket.destroy();
      await once(server, "close");
    },
  };
}
