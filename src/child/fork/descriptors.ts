/**
 * Lists the open file descriptors of this process and describes each in words for the user: "a TCP connection to
 * 127.0.0.1:5432". Linux only. fork-safety.ts decides whether a fork may share them.
 */
import { constants, fstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from "node:fs";

export type DescriptorKind =
  /** Its only state is a file position: each child opens the file again to have its own. */
  | "file"
  /** No state, so sharing is harmless. */
  | "stateless"
  /** A stream whose bytes reach only one of the processes that share it; a child can see it as closed by its peer. */
  | "connection"
  /** Any other state that is common to all processes that share it. */
  | "shared";

export interface Descriptor {
  readonly fd: number;
  /** The link in /proc/self/fd: a path, or a type and inode. Different targets are always different files. */
  readonly target: string;
}

export interface Description {
  readonly kind: DescriptorKind;
  /** A clause for the user: "... is open". */
  readonly what: string;
}

/** Returns the open descriptors except stdin, stdout, stderr and the one that reading /proc takes. */
export function openDescriptors(): Descriptor[] {
  const open: Descriptor[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (fd < FIRST_FD) continue;
    try {
      open.push({ fd, target: readlinkSync(`/proc/self/fd/${name}`) });
    } catch {
      // The descriptor of /proc/self/fd itself, closed by now.
    }
  }
  return open;
}

/** After stdin, stdout and stderr. */
const FIRST_FD = 3;

export function describe({ fd, target }: Descriptor): Description {
  const [, type, inode] = /^([a-z_]+):\[?([^\]]*)\]?$/.exec(target) ?? [];
  if (type === "socket") return describeSocket(inode!);
  if (type === "pipe") return { kind: "connection", what: "a pipe is open" };
  if (type === "anon_inode") return { kind: "shared", what: `${anonymousName(inode!)} is open` };
  // A namespace, which has no state; see namespaces(7).
  if (type !== undefined) return { kind: "stateless", what: `${target} is open` };
  return describePath(fd, target, fstatSync(fd));
}

/** Returns the open flags, the position and whether the file is locked, from proc_pid_fdinfo(5). */
export function fileState(fd: number): { flags: number; position: number; isLocked: boolean } {
  const info = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
  return {
    flags: Number.parseInt(/^flags:\s+(\d+)/m.exec(info)?.[1] ?? "0", 8),
    position: Number(/^pos:\s+(\d+)/m.exec(info)?.[1] ?? 0),
    isLocked: /^lock:/m.test(info),
  };
}

/** Whether a program started by this process inherits the descriptor. */
export function isInheritable({ fd }: Descriptor): boolean {
  return (fileState(fd).flags & O_CLOEXEC) === 0;
}

/** The same on x64 and arm64; not in Node's `constants`. */
export const O_CLOEXEC = 0o2000000;

function describePath(fd: number, target: string, stats: Stats): Description {
  const what = `${target} is open`;
  if (stats.isFIFO()) return { kind: "connection", what: `the FIFO ${what}` };
  if (stats.isCharacterDevice()) return describeDevice(target, stats.rdev);
  const { flags, isLocked } = fileState(fd);
  if ((flags & O_PATH) !== 0) return { kind: "stateless", what };
  if (isLocked) return { kind: "shared", what: `${target} is locked` };
  const isReadOnly = (flags & (constants.O_WRONLY | constants.O_RDWR)) === 0;
  // Each spawned child would create its own such file, invisible to the others.
  if (target.endsWith(DELETED) && !isReadOnly) {
    return {
      kind: "shared",
      what: `the deleted or unnamed file ${target.slice(0, -DELETED.length)} is open`,
    };
  }
  return { kind: "file", what };
}

const DELETED = " (deleted)";
const O_PATH = 0o10000000;

/** See Documentation/admin-guide/devices.txt in the kernel's source. */
function describeDevice(target: string, device: number): Description {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  const what = `the device ${target} is open`;
  if (major === MEMORY_DEVICES && STATELESS_MINORS.has(minor)) return { kind: "stateless", what };
  // Opening it again gives the same terminal, as in a spawned child.
  const isTerminal = major === 4 || (major >= 136 && major <= 143) || (major === 5 && minor < 2);
  return { kind: isTerminal ? "file" : "shared", what };
}

const MEMORY_DEVICES = 1;
/** null, zero, full, random, urandom. */
const STATELESS_MINORS = new Set([3, 5, 7, 8, 9]);

function anonymousName(type: string): string {
  return ANONYMOUS_NAMES[type] ?? `a kernel object of type ${type}`;
}

/** By the kernel's name without brackets. */
const ANONYMOUS_NAMES: Readonly<Record<string, string>> = {
  eventfd: "an eventfd",
  eventpoll: "an epoll instance",
  inotify: "an inotify instance",
  fanotify: "a fanotify group",
  pidfd: "a pidfd",
  signalfd: "a signalfd",
  timerfd: "a timerfd",
  userfaultfd: "a userfaultfd",
  io_uring: "an io_uring",
};

function describeSocket(inode: string): Description {
  for (const [table, describeRow] of SOCKET_TABLES) {
    const row = findSocket(table, inode);
    if (row) return describeRow(row);
  }
  return { kind: "connection", what: "a socket is open" };
}

type Row = readonly string[];

/** Fastest first: for TCP the kernel scans its whole hash table, which takes milliseconds. */
const SOCKET_TABLES: readonly (readonly [table: string, describe: (row: Row) => Description])[] = [
  ["unix", describeUnix],
  ["tcp", describeTcp],
  ["tcp6", describeTcp],
  ["udp", describeUdp],
  ["udp6", describeUdp],
];

/** Returns the columns of the socket's row in a table of proc_pid_net(5). */
function findSocket(table: string, inode: string): Row | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/self/net/${table}`, "latin1");
  } catch {
    return undefined;
  }
  const column = INODE_COLUMNS[table]!;
  return text
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find((row) => row[column] === inode);
}

const INODE_COLUMNS: Readonly<Record<string, number>> = {
  tcp: 9,
  tcp6: 9,
  udp: 9,
  udp6: 9,
  unix: 6,
};

/** State of a listening socket (enum in include/net/tcp_states.h). */
const TCP_LISTEN = "0A";

function describeTcp([, local, remote, state]: Row): Description {
  return state === TCP_LISTEN
    ? { kind: "shared", what: `a server listens on ${address(local!)}` }
    : { kind: "connection", what: `a TCP connection to ${address(remote!)} is open` };
}

function describeUdp([, local, remote]: Row): Description {
  const isConnected = !/^0+:0+$/.test(remote!);
  const where = isConnected ? `to ${address(remote!)}` : `at ${address(local!)}`;
  return { kind: "shared", what: `a UDP socket ${where} is open` };
}

/** SO_ACCEPTCON (include/uapi/linux/net.h): the socket listens. */
const ACCEPTS = 0x10000;
const SOCK_STREAM = 1;

/** The path belongs to the end that was bound, usually the server's. */
function describeUnix([, , , flags, type, , , path]: Row): Description {
  const name = path === undefined ? "a Unix socket" : `the Unix socket ${path}`;
  if (Number.parseInt(flags!, 16) & ACCEPTS)
    return { kind: "shared", what: `a server listens on ${name}` };
  const kind = Number.parseInt(type!, 16) === SOCK_STREAM ? "connection" : "shared";
  return { kind, what: `${name} is open` };
}

/** "0100007F:1538" is 127.0.0.1:5432: four-byte words in the machine's byte order; the port is in plain hex. */
function address(hex: string): string {
  const [host, port] = hex.split(":") as [string, string];
  const bytes = host
    .match(/.{8}/g)!
    .flatMap((word) => word.match(/../g)!.toReversed())
    .map((byte) => Number.parseInt(byte, 16));
  return `${hostName(bytes)}:${Number.parseInt(port, 16)}`;
}

function hostName(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff) {
    return bytes.slice(12).join(".");
  }
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16),
  );
  return new URL(`http://[${groups.join(":")}]`).hostname;
}
