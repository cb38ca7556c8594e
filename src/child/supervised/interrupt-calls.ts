/**
 * The C functions by which a byte that comes through a socket interrupts V8, bound through koffi.
 *
 * V8 runs a callback in the middle of JavaScript, even of `for(;;)` or `Atomics.wait`, if another thread calls
 * `Isolate::RequestInterrupt(isolate, callback, data)`. JavaScript cannot run in another thread, so glibc makes one: aio_read(3)
 * waits for the byte, and then calls a function with one argument (SIGEV_THREAD). `fgetc(file)` is such a function, and makes
 * three arguments of one: if the stream's buffer is empty, it calls `read(cookie, buffer, size)` of a stream made by
 * fopencookie(3), here `RequestInterrupt(isolate, callback, 4096)`.
 *
 * Stream, callback and bindings serve a process for its lifetime, and all forks of it. Only `arm` creates a thread.
 */
import { loadKoffi } from "../../system/koffi.js";

/** Functions of C return what they do in C; koffi makes a number of it if it fits. */
export interface InterruptCalls {
  /** The block of aio_read(3), which is filled in but for its descriptor. */
  readonly block: number;
  /** The stream, which must be emptied by `clearError` and `purge` before it is used again. */
  readonly file: number;
  aioRead(block: number): number;
  /** EINPROGRESS until a byte or the end of the stream has come. */
  aioError(block: number): number;
  /** After that: 1 for a byte; 0 at the end of the stream, -1 on failure. */
  aioReturn(block: number): number | bigint;
  /** Takes the lock of the stream, so waits until the thread of the last interrupt has left it. */
  clearError(file: number): void;
  purge(file: number): void;
  /** The stream has a byte from now on: to read it requests no interrupt. */
  pushBack(byte: number, file: number): number;
  send(fd: number, text: string, bytes: number | bigint, flags: number): number | bigint;
  /** How many bytes it has in UTF-8. */
  length(text: string): number | bigint;
  /** Sets the descriptor from which `aioRead` reads, and whether that requests an interrupt. */
  set(fd: number, interrupts: boolean): void;
  /**
   * Returns a connection that is closed on exec, and in which a connect or a write takes `SEND_MS` at most.
   *
   * @throws what failed, in words
   */
  connect(path: string): number;
  errno(): number;
  /** Makes a thread that waits for a byte see the end of the stream. */
  shutdown(fd: number): void;
  close(fd: number): void;
}

export const EINPROGRESS = 115;
export const MSG_NOSIGNAL = 0x4000;

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 0o2000001;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDTIMEO = 21;
const SHUT_RDWR = 2;
/** A supervisor that neither accepts nor reads must not hold up its children. */
const SEND_MS = 100;
/** For a line of 256 KiB; the kernel doubles it for its own needs, and cuts it to net.core.wmem_max. */
const SEND_BUFFER_BYTES = 256 * 1024;
const SUN_PATH_OFFSET = 2;
const SOCKADDR_UN_BYTES = 110;

const SIGEV_NONE = 1;
const SIGEV_THREAD = 2;
const FULLY_BUFFERED = 0;
/** Any: the callback is code, and nothing is written there. */
const STREAM_BUFFER_BYTES = 4096;
const PTHREAD_CREATE_DETACHED = 1;
/** For a thread that calls RequestInterrupt. The default of 8 MiB may become a huge page of 2 MiB, all of it private memory. */
const THREAD_STACK_BYTES = 128 * 1024;

/** Where fields are in struct aiocb of glibc on x64 and arm64 (aio.h), and what follows it in the same memory. */
const AIO = { fd: 0, buffer: 16, bytes: 24, value: 32, notify: 44, calls: 48, attributes: 56 };
const AIOCB_BYTES = 168;
const BYTE_OFFSET = AIOCB_BYTES;
const ATTRIBUTES_OFFSET = AIOCB_BYTES + 8;
/** pthread_attr_t has 56 bytes on x64, and 64 on arm64. */
const MEMORY_BYTES = ATTRIBUTES_OFFSET + 64;

const REQUEST_INTERRUPT = "_ZN2v87Isolate16RequestInterruptEPFvPS0_PvES2_";
const GET_CURRENT_ISOLATE = "_ZN2v87Isolate10GetCurrentEv";

let calls: InterruptCalls | undefined;

/**
 * Binds the functions, once. It starts no thread, so it may be called before a fork, which saves each child the time and memory.
 *
 * @param entry - what V8 calls for each interrupt; it must not throw
 * @throws why there can be no interrupts, in words
 */
export function interruptCalls(entry: () => void): InterruptCalls {
  return (calls ??= bind(entry));
}

function bind(entry: () => void): InterruptCalls {
  const koffi = loaded();
  const lib = koffi.load(null);
  const dlsym = lib.func("uintptr_t dlsym(uintptr_t library, const char *name)");
  const symbol = (name: string) => dlsym(0, name) as number;
  if (symbol("gnu_get_libc_version") === 0)
    throw new Error("the C library is not glibc, whose threads interrupt JavaScript");
  const requestInterrupt = symbol(REQUEST_INTERRUPT);
  const fgetc = symbol("fgetc");
  if (requestInterrupt === 0 || symbol(GET_CURRENT_ISOLATE) === 0)
    throw new Error("this build of Node does not export the functions that interrupt JavaScript");

  // Until glibc 2.34, they are in a library of their own, which Node does not load.
  const aio = symbol("aio_read") === 0 ? koffi.load("librt.so.1") : lib;
  const socket = lib.func("int socket(int domain, int type, int protocol)");
  const setOption = lib.func(
    "int setsockopt(int fd, int level, int option, const void *value, unsigned int bytes)",
  );
  const connect = lib.func("int connect(int fd, const void *address, unsigned int bytes)");
  const shutdown = lib.func("int shutdown(int fd, int how)");
  const close = lib.func("int close(int fd)") as (fd: number) => number;

  const callback = koffi.register(
    entry,
    koffi.pointer(koffi.proto("void (uintptr_t isolate, uintptr_t data)")),
  );
  const file = openStream();
  const memory = lib.func("uintptr_t malloc(size_t bytes)")(MEMORY_BYTES) as number;
  const block = new DataView(koffi.view(BigInt(memory), MEMORY_BYTES));
  new Uint8Array(block.buffer).fill(0);
  setBlock();

  /** Returns a stream from which a byte is read by requesting an interrupt. */
  function openStream(): number {
    const isolate = lib.func(GET_CURRENT_ISOLATE, "uintptr_t", [])() as number;
    const functions = koffi.struct({
      read: "uintptr_t",
      write: "uintptr_t",
      seek: "uintptr_t",
      close: "uintptr_t",
    });
    const fopencookie = lib.func("fopencookie", "uintptr_t", ["uintptr_t", "str", functions]);
    const cookie = { read: requestInterrupt, write: 0, seek: 0, close: 0 };
    const stream = fopencookie(isolate, "r", cookie) as number;
    if (stream === 0) throw new Error(`fopencookie failed (errno ${koffi.errno()})`);
    const setBuffer = lib.func("int setvbuf(uintptr_t file, void *buffer, int mode, size_t bytes)");
    setBuffer(stream, callback, FULLY_BUFFERED, STREAM_BUFFER_BYTES);
    return stream;
  }

  function setBlock(): void {
    const attributes = memory + ATTRIBUTES_OFFSET;
    lib.func("int pthread_attr_init(uintptr_t attributes)")(attributes);
    lib.func("int pthread_attr_setdetachstate(uintptr_t attributes, int state)")(
      attributes,
      PTHREAD_CREATE_DETACHED,
    );
    lib.func("int pthread_attr_setstacksize(uintptr_t attributes, size_t bytes)")(
      attributes,
      THREAD_STACK_BYTES,
    );
    block.setBigUint64(AIO.buffer, BigInt(memory + BYTE_OFFSET), true);
    block.setBigUint64(AIO.bytes, 1n, true);
    block.setBigUint64(AIO.value, BigInt(file), true);
    block.setBigUint64(AIO.calls, BigInt(fgetc), true);
    block.setBigUint64(AIO.attributes, BigInt(attributes), true);
  }

  return {
    block: memory,
    file,
    aioRead: aio.func("int aio_read(uintptr_t block)"),
    aioError: aio.func("int aio_error(uintptr_t block)"),
    aioReturn: aio.func("intptr_t aio_return(uintptr_t block)"),
    clearError: lib.func("void clearerr(uintptr_t file)"),
    purge: lib.func("void __fpurge(uintptr_t file)"),
    // Not into the buffer, which is code: it is empty, so the C library makes room elsewhere.
    pushBack: lib.func("int ungetc(int byte, uintptr_t file)"),
    send: lib.func("intptr_t send(int fd, const char *text, size_t bytes, int flags)"),
    length: lib.func("size_t strlen(const char *text)"),
    set(fd, interrupts) {
      block.setInt32(AIO.fd, fd, true);
      block.setInt32(AIO.notify, interrupts ? SIGEV_THREAD : SIGEV_NONE, true);
    },
    connect(path) {
      const fd = socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0) as number;
      if (fd === -1) throw new Error(`socket failed (errno ${koffi.errno()})`);
      setOption(fd, SOL_SOCKET, SO_SNDTIMEO, new BigInt64Array([0n, BigInt(SEND_MS * 1000)]), 16);
      setOption(fd, SOL_SOCKET, SO_SNDBUF, new Int32Array([SEND_BUFFER_BYTES]), 4);
      const address = Buffer.alloc(SOCKADDR_UN_BYTES);
      address.writeUInt16LE(AF_UNIX);
      address.write(path, SUN_PATH_OFFSET);
      if (connect(fd, address, address.length) === 0) return fd;
      const errno = koffi.errno();
      close(fd);
      throw new Error(`connect to ${path} failed (errno ${errno})`);
    },
    errno: koffi.errno,
    shutdown: (fd) => void shutdown(fd, SHUT_RDWR),
    close: (fd) => void close(fd),
  };
}

function loaded(): ReturnType<typeof loadKoffi> {
  if (process.platform !== "linux") throw new Error("only Linux has what interrupts JavaScript");
  try {
    return loadKoffi();
  } catch (error) {
    const [first] = (error as Error).message.split("\n");
    throw new Error(`the optional dependency koffi could not be loaded: ${first}`, {
      cause: error,
    });
  }
}
