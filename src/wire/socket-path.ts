/** The Unix socket of a pool or a supervisor. Its path may have 107 bytes at most; that of a scratch directory may be longer. */
import { closeSync, openSync } from "node:fs";
import net from "node:net";

export const SOCKET_FILE = "socket";
/** `sun_path` of unix(7) has 108 bytes, including the final NUL. */
const MAX_PATH_BYTES = 107;

/** Connects to the socket in this directory. */
export function connectTo(directory: string): net.Socket {
  return withSocketPath(directory, SOCKET_FILE, (path) => net.connect({ path }));
}

/** Resolves once `server` listens on the socket in this directory. */
export function listenIn(directory: string, server: net.Server): Promise<void> {
  return listenAt(directory, SOCKET_FILE, server);
}

/** Resolves once `server` listens on a socket of this name in this directory. */
export function listenAt(directory: string, file: string, server: net.Server): Promise<void> {
  return withSocketPath(
    directory,
    file,
    (path) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ path }, resolve);
      }),
  );
}

/** Shortens a long path through a descriptor of the directory. Connect and listen use the path before they return. */
export function withSocketPath<T>(directory: string, file: string, use: (path: string) => T): T {
  const path = `${directory}/${file}`;
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return use(path);
  const fd = openSync(directory, "r");
  try {
    return use(`/proc/self/fd/${fd}/${file}`);
  } finally {
    closeSync(fd);
  }
}
