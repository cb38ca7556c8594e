/** The Unix socket of a pool. The kernel limits its path to 107 bytes, and the path of a scratch directory may be longer. */
import { closeSync, openSync } from "node:fs";
import net from "node:net";

const SOCKET_FILE = "socket";
/** `sun_path` of unix(7) has 108 bytes, including the final NUL. */
const MAX_PATH_BYTES = 107;

/** Connects to the socket in this directory. */
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

/** Shortens a path that is too long by way of the directory's descriptor; connect and listen use the path before they return. */
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
