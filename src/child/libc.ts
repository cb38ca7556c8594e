/**
 * The C functions that Node does not offer, bound through koffi. Constants are those of Linux on x64 and arm64
 * (include/uapi in the kernel's source). Only the fork server and child processes load this.
 */
import { loadKoffi } from "../system/koffi.js";

/** Addresses from `start` up to, not including, `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface Libc {
  /** 0 in the child, -1 on failure (see `errno`). */
  fork(): number;
  /** Ends the process at once: runs no exit handlers and joins no threads, which a fork does not copy. */
  exit(code: number): never;
  getpid(): number;
  getppid(): number;
  setpgid(pid: number, group: number): number;
  /** -1 on failure. */
  kill(pid: number, signal: number): number;
  /** Makes the kernel send `signal` to this process when its parent ends; 0 cancels that. */
  dieWithParent(signal: number): void;
  /** Returns a file descriptor that becomes readable when the process ends; -1 on failure. */
  openPidfd(pid: number): number;
  close(fd: number): void;
  /** Returns a descriptor of its own, closed on exec, for the same open file; -1 on failure. */
  dup(fd: number): number;
  /** -1 on failure. */
  dup2(from: number, to: number): number;
  /** As dup2, with O_CLOEXEC or 0 as `flags`. -1 on failure. */
  dup3(from: number, to: number, flags: number): number;
  /** Returns the new position; -1 on failure. */
  seek(fd: number, offset: number, whence: number): number;
  /** Returns two connected sockets. */
  socketPair(): [number, number];
  /** -1 on failure. */
  mkfifo(path: string, mode: number): number;
  /**
   * Makes glibc keep up to 64 MiB of freed memory. V8 without threads frees many buffers at once, which glibc would
   * return to the system; then each new buffer of 1 MiB costs 0.6 ms of page faults instead of 0.06.
   */
  keepFreedMemory(): void;
  /** malloc(3): returns an address. */
  allocate(bytes: number): number;
  free(address: number): void;
  /** Returns how many bytes are unused at the end of glibc's heap, and how many are free elsewhere; only with glibc. */
  heap(): { readonly unused: number; readonly freeBytes: number } | undefined;
  /** Waits until one of `count` records of struct pollfd has an event, for `ms` at most; -1 is for ever. */
  poll(records: Int32Array, count: number, ms: number): number;
  /** Reaps a child: fills in its status (int) and struct rusage. */
  wait(pid: number, status: Int32Array, usage: Uint32Array): number;
  limit(resource: number, soft: number, hard: number): number;
  /** Maps a part of an open file into memory, shared with all that map it. */
  mapFile(fd: number, offset: number, bytes: number): ArrayBuffer;
  /** Unmaps it; `memory` must not be used any more. */
  unmapFile(memory: ArrayBuffer): void;
  /** Maps new memory at an address, or anywhere for 0. Returns the address, `undefined` on failure. */
  map(start: number, bytes: number, protection: number, flags: number): number | undefined;
  unmap(start: number, bytes: number): void;
  /** madvise(2); `false` on failure. */
  advise(start: number, bytes: number, advice: number): boolean;
  /** mprotect(2); `false` on failure. */
  protect(start: number, bytes: number, protection: number): boolean;
  /** Moves a mapping to another address; `false` on failure. */
  move(from: number, bytes: number, to: number): boolean;
  copy(to: number, from: number, bytes: number): void;
  /** Returns the address of a symbol that Node or one of its libraries exports. */
  symbol(name: string): number | undefined;
  /** Returns a view of memory as 64-bit words. */
  words(address: number, count: number): BigUint64Array;
  /** Makes the page with this address writable; `false` on failure. */
  makeWritable(address: number): boolean;
  /** Returns how many requests of the event loop are pending: work in the thread pool, writes, connects, lookups. */
  pendingRequests(): number;
  /** Waits until the thread pool has done its work, and ends it: the process can only exit then. */
  finishWork(): void;
  /** Gives the event loop of a forked child its own kernel objects. */
  reviveLoop(): void;
  errno(): number;
}

export const SIGKILL = 9;
export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const HUGE_PAGE_BYTES = 2 * 1024 * 1024;
/** Size of struct rusage: two timevals and 14 longs. */
export const RUSAGE_BYTES = 144;

const PR_SET_PDEATHSIG = 1;
/** RTLD_DEFAULT. */
const ANY_LIBRARY = 0;
const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 0o2000001;
export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_READ_WRITE = 3;
export const PROT_READ_EXEC = 5;
const MAP_SHARED = 1;
export const MAP_PRIVATE_ANONYMOUS = 0x22;
export const MAP_NORESERVE = 0x4000;
export const MAP_FIXED_NOREPLACE = 0x10_0000;
const MREMAP_MAYMOVE_FIXED = 3;
export const MADV_DONTNEED = 4;
const MADV_DOFORK = 11;
export const MADV_HUGEPAGE = 14;
export const MADV_COLLAPSE = 25;
const SYS_PIDFD_OPEN = 434;
const F_DUPFD_CLOEXEC = 1030;
/** After stdin, stdout and stderr, which may be closed. */
const FIRST_OWN_FD = 3;
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
/** The most that glibc accepts, and twice that, the ratio to which glibc adapts by itself. */
const MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024;
const TRIM_THRESHOLD_BYTES = 2 * MMAP_THRESHOLD_BYTES;
/** Offset of `active_reqs.count` in `uv_loop_t` (uv.h), the same in all of libuv 1. */
const ACTIVE_REQUESTS_OFFSET = 32;
/** mallinfo(3), from glibc 2.33 on: `fordblks` counts all free bytes, `keepcost` those at the end of the heap. */
const MALLINFO2 = Object.fromEntries(
  [
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
  ].map((field) => [field, "size_t"]),
);
const FIRST_PAGE = 0x1000;
/** End of the user address space with four-level page tables; the kernel accepts a range beyond the last mapping. */
const LAST_PAGE = process.arch === "x64" ? 0x7ffffffff000 : 0xfffffffff000;

let libc: Libc | undefined;

/**
 * Binds the functions, once.
 *
 * @throws what `require` throws if koffi is not installed or has no binary for this platform
 */
export function loadLibc(): Libc {
  return (libc ??= bind());
}

function bind(): Libc {
  const koffi = loadKoffi();
  const lib = koffi.load(null);
  const rlimit = Buffer.alloc(16);

  const fork = lib.func("int fork()");
  const madvise = lib.func("int madvise(uintptr_t start, size_t length, int advice)");
  const prctl = lib.func("int prctl(int option, unsigned long argument)");
  const wait4 = lib.func("int wait4(int pid, void *status, int options, void *usage)");
  const poll = lib.func("int poll(void *records, unsigned long count, int timeout)");
  const setrlimit = lib.func("int setrlimit(int resource, const void *limit)");
  const mmap = lib.func(
    "void *mmap(uintptr_t start, size_t length, int protection, int flags, int fd, int64_t offset)",
  );
  const munmap = lib.func("int munmap(uintptr_t start, size_t length)");
  const mremap = lib.func("mremap", "void *", [
    "uintptr_t",
    "size_t",
    "size_t",
    "int",
    "uintptr_t",
  ]);
  const mprotect = lib.func("int mprotect(uintptr_t start, size_t length, int protection)");
  const pageBytes = lib.func("int getpagesize()")() as number;
  const dlsym = lib.func("void *dlsym(uintptr_t library, const char *name)");
  const memcpy = lib.func("void *memcpy(uintptr_t to, uintptr_t from, size_t length)");
  const pidfdOpen = lib.func("syscall", "long", ["long", "int", "unsigned int"]);
  const fcntl = lib.func("int fcntl(int fd, int command, int argument)");
  const uvDefaultLoop = lib.func("void *uv_default_loop()");
  const uvLoopFork = lib.func("int uv_loop_fork(void *loop)");
  const uvLibraryShutdown = lib.func("void uv_library_shutdown()");
  const loop = uvDefaultLoop() as unknown;
  const activeRequests = new Uint32Array(
    koffi.view(loop, ACTIVE_REQUESTS_OFFSET + 4),
    ACTIVE_REQUESTS_OFFSET,
    1,
  );
  const socketpair = lib.func("int socketpair(int domain, int type, int protocol, void *pair)");
  const mallinfo2 = found(() => lib.func("mallinfo2", koffi.struct(MALLINFO2), []));
  const mallopt = found(() => lib.func("int mallopt(int parameter, int value)"));

  const mapped = new WeakMap<ArrayBuffer, Range>();
  /** Returns `undefined` for MAP_FAILED, which is -1. */
  const addressOf = (pointer: unknown) => {
    const address = Number(koffi.address(pointer));
    return Number.isSafeInteger(address) ? address : undefined;
  };

  return {
    fork() {
      // V8 marks its heap MADV_DONTFORK; a child without it dies at once. Cleared before every fork, because V8 may
      // have mapped more since. One call covers the whole address space: it fails at the special mappings of the
      // kernel, which lie at the end, after it has done the rest.
      madvise(FIRST_PAGE, LAST_PAGE - FIRST_PAGE, MADV_DOFORK);
      return fork() as number;
    },
    exit: lib.func("void _exit(int code)") as unknown as (code: number) => never,
    getpid: lib.func("int getpid()") as () => number,
    getppid: lib.func("int getppid()") as () => number,
    setpgid: lib.func("int setpgid(int pid, int group)") as Libc["setpgid"],
    kill: lib.func("int kill(int pid, int signal)") as Libc["kill"],
    dieWithParent: (signal) => void prctl(PR_SET_PDEATHSIG, signal),
    openPidfd: (pid) => Number(pidfdOpen(SYS_PIDFD_OPEN, pid, 0)),
    close: lib.func("int close(int fd)"),
    dup: (fd) => fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OWN_FD) as number,
    dup2: lib.func("int dup2(int from, int to)") as Libc["dup2"],
    dup3: lib.func("int dup3(int from, int to, int flags)") as Libc["dup3"],
    seek: lib.func("int64_t lseek(int fd, int64_t offset, int whence)") as Libc["seek"],
    socketPair() {
      const pair = new Int32Array(2);
      if (socketpair(AF_UNIX, SOCK_STREAM_CLOEXEC, 0, pair) !== 0)
        throw new Error(`socketpair failed (errno ${koffi.errno()})`);
      return [pair[0]!, pair[1]!];
    },
    mkfifo: lib.func("int mkfifo(const char *path, unsigned int mode)") as Libc["mkfifo"],
    keepFreedMemory() {
      mallopt?.(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
      mallopt?.(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
    },
    allocate: lib.func("uintptr_t malloc(size_t bytes)") as Libc["allocate"],
    free: lib.func("void free(uintptr_t address)"),
    heap() {
      if (!mallinfo2) return undefined;
      const { keepcost, fordblks } = mallinfo2() as Record<string, number | bigint>;
      const unused = Number(keepcost);
      return { unused, freeBytes: Number(fordblks) - unused };
    },
    poll: (records, count, ms) => poll(records, count, ms) as number,
    wait: (pid, status, usage) => wait4(pid, status, 0, usage) as number,
    limit(resource, soft, hard) {
      rlimit.writeBigUInt64LE(BigInt(soft), 0);
      rlimit.writeBigUInt64LE(BigInt(hard), 8);
      return setrlimit(resource, rlimit) as number;
    },
    mapFile(fd, offset, bytes) {
      const start = mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED, fd, offset) as unknown;
      const address = addressOf(start);
      if (address === undefined) throw new Error(`mmap failed (errno ${koffi.errno()})`);
      const memory = koffi.view(start, bytes);
      mapped.set(memory, { start: address, end: address + bytes });
      return memory;
    },
    unmapFile(memory) {
      const range = mapped.get(memory);
      if (range) munmap(range.start, range.end - range.start);
      mapped.delete(memory);
    },
    map: (start, bytes, protection, flags) =>
      addressOf(mmap(start, bytes, protection, flags, -1, 0)),
    unmap: (start, bytes) => void munmap(start, bytes),
    advise: (start, bytes, advice) => madvise(start, bytes, advice) === 0,
    protect: (start, bytes, protection) => mprotect(start, bytes, protection) === 0,
    move: (from, bytes, to) =>
      addressOf(mremap(from, bytes, bytes, MREMAP_MAYMOVE_FIXED, to)) === to,
    copy: (to, from, bytes) => void memcpy(to, from, bytes),
    symbol: (name) => addressOf(dlsym(ANY_LIBRARY, name)) || undefined,
    words: (address, count) => new BigUint64Array(koffi.view(BigInt(address), 8 * count)),
    makeWritable: (address) =>
      mprotect(address - (address % pageBytes), pageBytes, PROT_READ_WRITE) === 0,
    pendingRequests: () => activeRequests[0]!,
    finishWork: () => void uvLibraryShutdown(),
    reviveLoop() {
      const failed = uvLoopFork(loop) as number;
      if (failed !== 0) throw new Error(`uv_loop_fork failed (${failed})`);
    },
    errno: () => koffi.errno(),
  };
}

/** Returns `undefined` for a function that this C library lacks. */
function found<T>(bind: () => T): T | undefined {
  try {
    return bind();
  } catch {
    return undefined;
  }
}
