/** A small HTTP server, as an instance that a supervisor knows or does not. */
import http from "node:http";
import { Service } from "forkmap/container";

export class Hello extends Service {
  /** @param socket - the name of that which it serves */
  constructor(socket) {
    super();
    this.socket = socket;
  }

  async run(instance) {
    const server = http.createServer((_, response) => void response.end("hello\n"));
    await instance.serve(server, this.socket);
  }
}
