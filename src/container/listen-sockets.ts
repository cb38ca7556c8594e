/**
 * The listening sockets of a container. This process opens them and never accepts: the children inherit them and all accept from the same
 * queue, which the kernel keeps while this process lives. So a connection waits while no child is there, and is nobody's until a
 * child has accepted it.
 */
import { existsSync, lstatSync, unlinkSync } from "node:fs";
import { createRequire } from "node:module";
import type * as Net from "node:net";
import { constants } from "node:os";
import { dirname } from "node:path";
import { getSystemErrorName } from "node:util";
import { check, path, type Rule, wholeNumber } from "../option-rules.js";
import { describe } from "../system/describe.js";
import { socketCalls } from "./socket-calls.js";
import { systemdSockets } from "./systemd-sockets.js";

/** One listening socket: an address of TCP, the path of a Unix socket, or a descriptor that is open already. */
export interface SocketOptions {
  /** Port of TCP; 0 is any free one. */
  readonly port?: number | undefined;
  /** IP address of TCP. @defaultValue all of this machine's */
  readonly host?: string | undefined;
  /** Path of a Unix socket. One that nobody listens on any more is replaced. */
  readonly path?: string | undefined;
  /** Descriptor of a socket that is bound already. */
  readonly fd?: number | undefined;
}

/** Where a socket of a container listens. */
export type SocketAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

interface Open {
  readonly fd: number;
  readonly address: SocketAddress | undefined;
  close(): void;
}

/** The handle below `net.Server`, as node:cluster uses it: bound, and not yet listening. */
interface Handle {
  readonly fd: number;
  close(): void;
  getsockname?(out: object): number;
}

type CreateHandle = (
  address: string | null,
  port: number,
  type: 4 | 6 | -1,
  fd: number,
) => Handle | number;

/** Loaded with the first socket: children load this package with their service, and open none. */
function net(): typeof Net & { readonly _createServerHandle: CreateHandle } {
  return createRequire(import.meta.url)("node:net") as ReturnType<typeof net>;
}

export class ListenSockets {
  readonly #open = new Map<string, Open>();

  /**
   * @param sockets - the option
   * @param isRerun - the program is run again to find a service: nothing is opened, and addresses are those of the option
   * @throws TypeError when it is wrong
   * @throws Error with the `code` of the system when an address cannot be had, such as EADDRINUSE
   */
  constructor(sockets: Readonly<Record<string, SocketOptions>>, isRerun = false) {
    const checked = Object.entries(sockets).map(([name, options]) => {
      checkSocket(name, options);
      return [name, options] as const;
    });
    if (isRerun) {
      for (const [name, options] of checked) this.#open.set(name, unopened(options));
      return;
    }
    const given = systemdSockets(checked.map(([name]) => name));
    try {
      for (const [name, options] of checked) {
        const fd = given.get(name);
        this.#open.set(name, fd === undefined ? openSocket(name, options) : adopt(name, fd));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get names(): string[] {
    return [...this.#open.keys()];
  }

  /** In the order of `names`. */
  get fds(): number[] {
    return Array.from(this.#open.values(), ({ fd }) => fd);
  }

  byName(): Record<string, number> {
    return Object.fromEntries(Array.from(this.#open, ([name, { fd }]) => [name, fd]));
  }

  /** @throws TypeError when there is no such socket */
  address(name: string): SocketAddress | undefined {
    const found = this.#open.get(name);
    if (found) return found.address;
    const there = this.names.length === 0 ? "it has none" : `it has ${this.names.join(", ")}`;
    throw new TypeError(
      `Expected the name of a socket of the container (${there}), got ${describe(name)}`,
    );
  }

  close(): void {
    for (const { close } of this.#open.values()) close();
    this.#open.clear();
  }
}

const SOCKET_RULES: Readonly<Record<keyof SocketOptions, Rule>> = {
  port: wholeNumber(0, 65_535),
  host: {
    expected: 'an IP address or "localhost"',
    accepts: (value) =>
      value === "localhost" || (typeof value === "string" && net().isIP(value) > 0),
  },
  path,
  fd: wholeNumber(3, 2 ** 31 - 1),
};

function checkSocket(name: string, options: unknown): asserts options is SocketOptions {
  check(
    options,
    SOCKET_RULES,
    `sockets.${name}.`,
    (each) => `Unknown option \`${each}\` of a socket`,
  );
  const { port, host, path: file, fd } = options as SocketOptions;
  const kinds = [port, file, fd].filter((each) => each !== undefined).length;
  if (kinds === 1 && (host === undefined || port !== undefined)) return;
  throw new TypeError(
    `Expected \`sockets.${name}\` to have \`port\` (and \`host\`), \`path\` or \`fd\`, got ${describe(options)}`,
  );
}

function unopened({ port, host = "::", path: file }: SocketOptions): Open {
  const named = file === undefined ? undefined : { path: file };
  return { fd: -1, address: port === undefined ? named : { host, port }, close() {} };
}

function openSocket(name: string, { port, host, path: file, fd }: SocketOptions): Open {
  if (fd !== undefined) return adopt(name, fd);
  if (file !== undefined) return openUnix(name, file);
  return openTcp(name, port!, host === "localhost" ? "127.0.0.1" : host);
}

function openTcp(name: string, port: number, host: string | undefined): Open {
  if (host === undefined) {
    // A machine without IPv6 has no `::`.
    const both = net()._createServerHandle("::", port, 6, -1);
    if (typeof both !== "number") return bound(name, both, "::", port);
    host = "0.0.0.0";
  }
  const handle = net()._createServerHandle(host, port, net().isIP(host) === 6 ? 6 : 4, -1);
  return bound(name, handle, host, port);
}

function bound(name: string, handle: Handle | number, host: string, port: number): Open {
  const where = `${host}:${port}`;
  if (typeof handle === "number") throw unavailable(name, where, handle);
  const { port: actual = 0, failed } = nameOf(handle);
  // libuv tells that an address is in use only when it listens; until then the socket has no port.
  if (failed !== 0 || actual === 0) {
    handle.close();
    throw unavailable(name, where, failed || -constants.errno.EADDRINUSE);
  }
  const close = () => handle.close();
  listen(name, where, handle.fd, close);
  return { fd: handle.fd, address: { host, port: actual }, close };
}

function openUnix(name: string, file: string): Open {
  const { EACCES, EADDRINUSE, ENAMETOOLONG, ENOENT } = constants.errno;
  // libuv of Node 20 would listen at as much of the path as fits.
  if (Buffer.byteLength(file) > LONGEST_PATH) throw unavailable(name, file, -ENAMETOOLONG);
  let handle = net()._createServerHandle(file, -1, -1, -1);
  if (handle === -EADDRINUSE && isAbandoned(file)) {
    unlinkSync(file);
    handle = net()._createServerHandle(file, -1, -1, -1);
  }
  // libuv says EACCES of a missing directory too, for the sake of Windows.
  if (handle === -EACCES && !existsSync(dirname(file))) handle = -ENOENT;
  if (typeof handle === "number") throw unavailable(name, file, handle);
  const { fd } = handle;
  // Also removes the file.
  const close = () => handle.close();
  listen(name, file, fd, close);
  return { fd, address: { path: file }, close };
}

/** Whether this is a Unix socket that nobody listens on. The kernel refuses a connection to any other file in the same way. */
function isAbandoned(file: string): boolean {
  return lstatSync(file).isSocket() && socketCalls()?.isListening(file) === false;
}

/** Size of `sun_path` without its last byte, 0. */
const LONGEST_PATH = process.platform === "linux" ? 107 : 103;

/** Takes a socket that others have opened, and does not close it. */
function adopt(name: string, fd: number): Open {
  let handle: Handle | number;
  try {
    handle = net()._createServerHandle(null, 0, -1, fd);
  } catch {
    handle = -constants.errno.EINVAL;
  }
  if (typeof handle === "number") throw unavailable(name, `descriptor ${fd}`, handle);
  listen(name, `descriptor ${fd}`, fd, () => {});
  const { port, address } = nameOf(handle);
  return {
    fd,
    address: port === undefined ? undefined : { host: address!, port },
    close() {},
  };
}

function nameOf(handle: Handle): { port?: number; address?: string; failed: number } {
  const out: { port?: number; address?: string } = {};
  const failed = handle.getsockname?.(out) ?? 0;
  return { ...out, failed };
}

/**
 * Connections wait from now on, before the first child accepts; Node itself can only listen and accept. Without koffi the first child listens,
 * and connections before that are refused.
 */
function listen(name: string, where: string, fd: number, close: () => void): void {
  const errno = socketCalls()?.listen(fd, BACKLOG) ?? 0;
  if (errno === 0) return;
  close();
  throw unavailable(name, where, -errno);
}

/** Node's default; the kernel cuts it to /proc/sys/net/core/somaxconn. */
const BACKLOG = 511;

function unavailable(name: string, where: string, errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  const why = REASONS[code] ?? "it cannot be opened";
  return Object.assign(
    new Error(`The socket ${name} of the container (${where}): ${why} (${code})`),
    {
      code,
      errno,
      syscall: "listen",
    },
  );
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  ENOENT: "its directory does not exist",
  EACCES: "this user may not listen there",
  EADDRNOTAVAIL: "no network interface has this address",
  EINVAL: "it is no socket that can listen",
  EBADF: "it is not open",
  ENAMETOOLONG: "its path is too long",
};
