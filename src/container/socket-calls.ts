/**
 * The calls of the kernel about sockets that Node lacks: to listen without accepting, and datagrams on Unix sockets, as systemd's notify
 * protocol needs. Linux only, through the optional dependency koffi. Unlike child/libc.ts it does not configure koffi, as the program may use it too.
 */
import { constants } from "node:os";
import { loadKoffi } from "../system/koffi.js";

export interface SocketCalls {
  /** Returns 0, or the errno. */
  listen(fd: number, backlog: number): number;
  /** Returns whether anybody listens on this Unix socket. */
  isListening(path: string): boolean;
  /** Returns a socket for datagrams to this address, or the errno as a negative number. An address that begins with `@` is abstract. */
  connectDatagrams(address: string): number;
  /** Returns a socket that receives datagrams at this path, or the errno as a negative number. */
  bindDatagrams(path: string): number;
}

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** Size of `sun_path` of struct sockaddr_un. */
const LONGEST_PATH = 108;

let calls: SocketCalls | undefined;
let isTried = false;

/** Returns `undefined` where koffi is not installed or this is not Linux. */
export function socketCalls(): SocketCalls | undefined {
  if (isTried) return calls;
  isTried = true;
  try {
    if (process.platform === "linux") calls = bind();
  } catch {
    // koffi is not installed, or has no binary for this machine.
  }
  return calls;
}

function bind(): SocketCalls {
  const koffi = loadKoffi();
  const lib = koffi.load(null);
  const socket = lib.func("int socket(int domain, int type, int protocol)");
  const listen = lib.func("int listen(int fd, int backlog)");
  const connect = lib.func("int connect(int fd, const void *address, unsigned int length)");
  const bindTo = lib.func("int bind(int fd, const void *address, unsigned int length)");
  const close = lib.func("int close(int fd)");

  const open = (type: number, path: string, use: typeof connect): number => {
    const address = unixAddress(path);
    if (!address) return -constants.errno.ENAMETOOLONG;
    const fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) as number;
    if (fd === -1) return -koffi.errno();
    if ((use(fd, address, address.length) as number) === 0) return fd;
    const errno = koffi.errno();
    close(fd);
    return -errno;
  };
  return {
    listen: (fd, backlog) => ((listen(fd, backlog) as number) === 0 ? 0 : koffi.errno()),
    isListening(path) {
      const fd = open(SOCK_STREAM, path, connect);
      if (fd >= 0) close(fd);
      // EAGAIN: its queue is full, so somebody listens.
      return fd >= 0 || fd === -constants.errno.EAGAIN;
    },
    connectDatagrams: (address) => open(SOCK_DGRAM, address, connect),
    bindDatagrams: (path) => open(SOCK_DGRAM, path, bindTo),
  };
}

/** Returns a struct sockaddr_un; `undefined` if the path does not fit. */
function unixAddress(path: string): Buffer | undefined {
  const isAbstract = path.startsWith("@");
  const bytes = Buffer.from(isAbstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (bytes.length > LONGEST_PATH) return undefined;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, bytes]);
}
