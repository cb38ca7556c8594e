/**
 * The C functions that Node does not offer, bound through koffi. Constants are those of Linux on x64 and arm64
 * (include/uapi in the kernel's source). Only the fork server and its children load this.
 */
import { createRequire } from "node:module";
import type * as Koffi from "koffi";

/** Addresses, the end not among them. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface Libc {
  /** 0 in the child, -1 on failure (see `errno`). */
  fork(): number;
  /** Ends the process at once: no exit handlers, no joining of threads that a fork has not copied. */
  exit(code: number): never;
  getpid(): number;
  getppid(): number;
  setpgid(pid: number, group: number): number;
  /** -1 on failure. */
  kill(pid: number, signal: number): number;
  /** SIGKILL for this process when its parent ends; 0 takes that back. */
  dieWithParent(signal: number): void;
  /** A descriptor that becomes readable when the process ends; -1 on failure. */
  openPidfd(pid: number): number;
  close(fd: number): void;
  /** -1 on failure. */
  dup2(from: number, to: number): number;
  /** Sets O_CLOEXEC or not. -1 on failure. */
  dup3(from: number, to: number, flags: number): number;
  /** The new position; -1 on failure. */
  seek(fd: number, offset: number, whence: number): number;
  /** Two connected sockets. */
  socketPair(): [number, number];
  /** -1 on failure. */
  mkfifo(path: string, mode: number): number;
  /**
   * Has glibc keep memory that was freed, up to 64 MiB of it, for what comes next. V8 without threads frees buffers many at
   * once, which glibc gives back to the system; then each new one of 1 MiB costs 0.6 ms of page faults in place of 0.06.
   */
  keepFreedMemory(): void;
  /** malloc(3): an address. */
  allocate(bytes: number): number;
  free(address: number): void;
  /** glibc's heap: where the part begins that was never used, and how many bytes before that are free. */
  heap(): { readonly top: number; readonly freeBytes: number } | undefined;
  /** Waits until one of `count` records of struct pollfd has news. */
  poll(records: Int32Array, count: number): number;
  /** Reaps a child: fills the status (int) and its struct rusage. */
  wait(pid: number, status: Int32Array, usage: Uint32Array): number;
  limit(resource: number, soft: number, hard: number): number;
  /** Memory that is the bytes of an open file. */
  mapFile(fd: number, offset: number, bytes: number): ArrayBuffer;
  /** It must not be used any more. */
  unmapFile(memory: ArrayBuffer): void;
  /** Keeps others from these addresses, for no memory; `false` when they are not free. */
  reserve(range: Range): boolean;
  release(range: Range): void;
  /** Unmaps the pages of a file's mapping until they are used again. */
  unmapPages(range: Range): void;
  /** Puts a copy of so much memory in its place, in huge pages; `false` when there are none to be had. */
  moveToHugePages(range: Range, executable: boolean): boolean;
  /** Has huge pages hold this memory, if they are to be had. */
  collapse(range: Range): void;
  /** Address of what Node or a library of it has by that name. */
  symbol(name: string): number | undefined;
  /** Memory as 64-bit words. */
  words(address: number, count: number): BigUint64Array;
  /** The page with this address; `false` when that cannot be. */
  makeWritable(address: number): boolean;
  /** How many requests to the event loop have not been answered: work in the thread pool, writes, connects, look-ups. */
  pendingRequests(): number;
  /** Waits until the thread pool has done what it was given, and ends it: the process can only exit then. */
  finishWork(): void;
  /** Gives the event loop of a forked child kernel objects of its own. */
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
const PROT_NONE = 0;
const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const PROT_READ_EXEC = 5;
const MAP_SHARED = 1;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_NORESERVE = 0x4000;
const MAP_FIXED_NOREPLACE = 0x10_0000;
const MREMAP_MAYMOVE_FIXED = 3;
const MADV_DONTNEED = 4;
const MADV_DOFORK = 11;
const MADV_HUGEPAGE = 14;
const MADV_COLLAPSE = 25;
const SYS_PIDFD_OPEN = 434;
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
/** The most glibc takes, and twice that, as it has it by itself once it has learnt so far. */
const MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024;
const TRIM_THRESHOLD_BYTES = 2 * MMAP_THRESHOLD_BYTES;
/** Of `active_reqs.count` in `uv_loop_t` (uv.h), which has been the same for all of libuv 1. */
const ACTIVE_REQUESTS_OFFSET = 32;
/** Of mallinfo(3), from glibc 2.33 on; `fordblks` are all free bytes, `keepcost` those of them at the end of the heap. */
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
/** End of the user address space with four-level page tables; the kernel takes a range that reaches beyond its last mapping. */
const LAST_PAGE = process.arch === "x64" ? 0x7ffffffff000 : 0xfffffffff000;

let libc: Libc | undefined;

/**
 * Binds them, once: koffi can be set up only before it has loaded anything.
 *
 * @throws whatever `require` throws when koffi is not installed or has no binary for this platform
 */
export function loadLibc(): Libc {
  return (libc ??= bind());
}

function bind(): Libc {
  const koffi = createRequire(import.meta.url)("koffi") as typeof Koffi;
  // Every call reserves from these; the defaults of 1 and 2 MiB would be part of every child.
  koffi.config({ ...koffi.config(), sync_stack_size: 64 * 1024, sync_heap_size: 64 * 1024 });
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
  const sbrk = lib.func("uintptr_t sbrk(intptr_t increment)");
  const mallinfo2 = found(() => lib.func("mallinfo2", koffi.struct(MALLINFO2), []));
  const mallopt = found(() => lib.func("int mallopt(int parameter, int value)"));

  const mapped = new WeakMap<ArrayBuffer, Range>();
  /** `undefined` for MAP_FAILED, which is -1. */
  const addressOf = (pointer: unknown) => {
    const address = Number(koffi.address(pointer));
    return Number.isSafeInteger(address) ? address : undefined;
  };

  return {
    fork() {
      // V8 marks its heap MADV_DONTFORK; a child without it dies at once. Cleared before every fork, because V8 may
      // have mapped more since. One call for the whole address space: it fails at the special mappings of the kernel,
      // which lie at the end, after having done the rest.
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
      return { top: Number(sbrk(0)) - unused, freeBytes: Number(fordblks) - unused };
    },
    poll: (records, count) => poll(records, count, -1) as number,
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
    reserve({ start, end }) {
      const bytes = end - start;
      const flags = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
      const place = addressOf(mmap(start, bytes, PROT_NONE, flags, -1, 0));
      // Before Linux 4.17 the flag is unknown, and somewhere else is taken.
      if (place !== start && place !== undefined) munmap(place, bytes);
      return place === start;
    },
    release: ({ start, end }) => void munmap(start, end - start),
    unmapPages: ({ start, end }) => void madvise(start, end - start, MADV_DONTNEED),
    moveToHugePages({ start, end }, executable) {
      const bytes = end - start;
      const roomBytes = bytes + HUGE_PAGE_BYTES;
      const room = mmap(0, roomBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) as unknown;
      const roomStart = addressOf(room);
      if (roomStart === undefined) return false;
      const copy = Math.ceil(roomStart / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES;
      // So that the first write already gets a huge page; the second call makes sure of it, or fails.
      madvise(copy, bytes, MADV_HUGEPAGE);
      memcpy(copy, start, bytes);
      const moved =
        madvise(copy, bytes, MADV_COLLAPSE) === 0 &&
        mprotect(copy, bytes, executable ? PROT_READ_EXEC : PROT_READ) === 0 &&
        addressOf(mremap(copy, bytes, bytes, MREMAP_MAYMOVE_FIXED, start)) === start;
      munmap(roomStart, copy - roomStart);
      if (!moved) munmap(copy, bytes);
      munmap(copy + bytes, roomStart + roomBytes - copy - bytes);
      return moved;
    },
    collapse: ({ start, end }) => void madvise(start, end - start, MADV_COLLAPSE),
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

/** What the C library here does not have is done without. */
function found<T>(bind: () => T): T | undefined {
  try {
    return bind();
  } catch {
    return undefined;
  }
}
