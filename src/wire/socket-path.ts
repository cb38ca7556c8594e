/** The socket of a pool, by a path the kernel takes: one of a Unix socket has at most 107 bytes, a scratch directory's may be longer. */
import { closeSync, openSync } from "node:fs";
import net from "node:net";

const SOCKET_FILE = "socket";
/** sun_path of unix(7) has 108 bytes, the last of them a zero. */
const MAX_PATH_BYTES = 107;

/** A connection to the socket in this directory. */
export function connectTo(directory: string): net.Socket {
  return withSocketPath(directory, (path) => net.connect({ path }));
}

/** Resolves once `server` listens on the socket in this directory. */
export function listenIn(directory: string, server: net.Server): Promise<void> {
  return withSocketPath(
    directory,
    (path) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ path }, resolve);
      }),
  );
}

/** Through the descriptor of its directory when it is too long; both calls are done with it when they return. */
function withSocketPath<T>(directory: string, use: (path: string) => T): T {
  const path = `${directory}/${SOCKET_FILE}`;
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return use(path);
  const fd = openSync(directory, "r");
  try {
    return use(`/proc/self/fd/${fd}/${SOCKET_FILE}`);
  } finally {
    closeSync(fd);
  }
}
