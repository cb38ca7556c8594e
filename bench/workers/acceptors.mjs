/** The service of accept.mjs: answers with its num, over a socket that it comes by in one of three ways. */
import { createRequire } from "node:module";
import http from "node:http";
import { once } from "node:events";
import { Service } from "forkmap/container";

export class Acceptor extends Service {
  /** @param {"balanced" | "shared" | "reuseport"} way */
  constructor(way, port) {
    super();
    this.way = way;
    this.port = port;
  }

  async run(instance) {
    const server = http.createServer((_, response) => response.end(String(instance.num)));
    server.keepAliveTimeout = 60_000;
    if (this.way === "balanced") return await instance.serve(server, "http");
    // `listen` by hand: nobody steps aside.
    const fd = this.way === "shared" ? instance.socket("http") : reusedSocket(this.port);
    server.listen({ fd });
    await once(server, "listening");
    instance.ready();
    await once(instance.signal, "abort");
    server.close();
    server.closeAllConnections();
  }
}

const AF_INET = 2;
const SOCK_STREAM_CLOEXEC = 0o2000001;
const SOL_SOCKET = 1;
const SO_REUSEPORT = 15;

/** A socket of its own for the same port: the kernel chooses one of them for each connection, by a hash. */
function reusedSocket(port) {
  const koffi = createRequire(import.meta.resolve("forkmap"))("koffi");
  const lib = koffi.load(null);
  const socket = lib.func("int socket(int, int, int)");
  const setsockopt = lib.func("int setsockopt(int, int, int, const void *, unsigned int)");
  const bind = lib.func("int bind(int, const void *, unsigned int)");
  const fd = socket(AF_INET, SOCK_STREAM_CLOEXEC, 0);
  const one = Buffer.from(new Int32Array([1]).buffer);
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, one, one.length);
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  if (bind(fd, address, address.length) !== 0) throw new Error("the port is taken");
  return fd;
}
