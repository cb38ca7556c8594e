/**
 * What this process has open, as the kernel tells it, each in words that a user of the worker's libraries knows: "a TCP
 * connection to 127.0.0.1:5432". Linux only. Whether a fork may share it is decided in fork-safety.ts.
 */
import { constants, fstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from "node:fs";

export type DescriptorKind =
  /** Its state is a position in it, which a child can have of its own: it is opened again. */
  | "file"
  /** Every open one is as any other. */
  | "stateless"
  /** Bytes go to one of those who share it; a peer can be seen to close it. */
  | "connection"
  /** Any other state that all who share it change. */
  | "shared";

export interface Descriptor {
  readonly fd: number;
  /** What the kernel calls it: a path, or its type and inode. Two that differ are never the same. */
  readonly target: string;
}

export interface Description {
  readonly kind: DescriptorKind;
  /** A clause: what is open. */
  readonly what: string;
}

/** Without those of standard input and output, and the one that this takes itself. */
export function openDescriptors(): Descriptor[] {
  const open: Descriptor[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (fd < FIRST_FD) continue;
    try {
      open.push({ fd, target: readlinkSync(`/proc/self/fd/${name}`) });
    } catch {
      // The directory itself, which is closed again.
    }
  }
  return open;
}

/** Behind stdin, stdout and stderr. */
const FIRST_FD = 3;

export function describe({ fd, target }: Descriptor): Description {
  const [, type, inode] = /^([a-z_]+):\[?([^\]]*)\]?$/.exec(target) ?? [];
  if (type === "socket") return describeSocket(inode!);
  if (type === "pipe") return { kind: "connection", what: "a pipe is open" };
  if (type === "anon_inode") return { kind: "shared", what: `${anonymousName(inode!)} is open` };
  // A name space, which has no state; see namespaces(7).
  if (type !== undefined) return { kind: "stateless", what: `${target} is open` };
  return describePath(fd, target, fstatSync(fd));
}

/** The flags it was opened with, and the position in it, as proc_pid_fdinfo(5) has them. */
export function fileState(fd: number): { flags: number; position: number; isLocked: boolean } {
  const info = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
  return {
    flags: Number.parseInt(/^flags:\s+(\d+)/m.exec(info)?.[1] ?? "0", 8),
    position: Number(/^pos:\s+(\d+)/m.exec(info)?.[1] ?? 0),
    isLocked: /^lock:/m.test(info),
  };
}

/** Whether a program that this process starts would have it too. */
export function isInheritable({ fd }: Descriptor): boolean {
  return (fileState(fd).flags & O_CLOEXEC) === 0;
}

/** The same on x64 and arm64; Node does not name it. */
export const O_CLOEXEC = 0o2000000;

function describePath(fd: number, target: string, stats: Stats): Description {
  const what = `${target} is open`;
  if (stats.isFIFO()) return { kind: "connection", what: `the FIFO ${what}` };
  if (stats.isCharacterDevice()) return describeDevice(target, stats.rdev);
  const { flags, isLocked } = fileState(fd);
  if ((flags & O_PATH) !== 0) return { kind: "stateless", what };
  if (isLocked) return { kind: "shared", what: `${target} is locked` };
  const isReadOnly = (flags & (constants.O_WRONLY | constants.O_RDWR)) === 0;
  // A spawned child makes a file of its own, which no other can see.
  if (target.endsWith(DELETED) && !isReadOnly) {
    return {
      kind: "shared",
      what: `a file without a name is open (${target.slice(0, -DELETED.length)})`,
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
  // Opened again it is the same terminal, as it is for a spawned child.
  const isTerminal = major === 4 || (major >= 136 && major <= 143) || (major === 5 && minor < 2);
  return { kind: isTerminal ? "file" : "shared", what };
}

const MEMORY_DEVICES = 1;
/** null, zero, full, random, urandom. */
const STATELESS_MINORS = new Set([3, 5, 7, 8, 9]);

function anonymousName(type: string): string {
  return ANONYMOUS_NAMES[type] ?? `an object of the kernel (${type})`;
}

/** By what the kernel calls them, with or without brackets. */
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

/** The first is the quickest: for TCP the kernel looks through its whole hash table, which takes milliseconds. */
const SOCKET_TABLES: readonly (readonly [table: string, describe: (row: Row) => Description])[] = [
  ["unix", describeUnix],
  ["tcp", describeTcp],
  ["tcp6", describeTcp],
  ["udp", describeUdp],
  ["udp6", describeUdp],
];

/** Its row in a table of proc_pid_net(5), by column. */
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

/** State of a socket that listens (enum in include/net/tcp_states.h). */
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

/** SO_ACCEPTCON (include/uapi/linux/net.h): it listens. */
const ACCEPTS = 0x10000;
const SOCK_STREAM = 1;

/** The path is that of the end that was bound, mostly the server's. */
function describeUnix([, , , flags, type, , , path]: Row): Description {
  const name = path === undefined ? "a Unix socket" : `the Unix socket ${path}`;
  if (Number.parseInt(flags!, 16) & ACCEPTS)
    return { kind: "shared", what: `a server listens on ${name}` };
  const kind = Number.parseInt(type!, 16) === SOCK_STREAM ? "connection" : "shared";
  return { kind, what: `${name} is open` };
}

/** "0100007F:1538" is 127.0.0.1:5432: words of four bytes each in the order of the machine, the port not. */
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
