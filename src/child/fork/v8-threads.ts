/**
 * Makes V8 believe that there are no background threads, as a forked child has none: V8 then does all work in place.
 *
 * `--single-threaded` is not enough. On Node 26, V8 posts work to a background thread in every young-generation
 * collection (ScavengerCollector calls `PostJob`). One child in 60,000, forked while the thread held the lock of its
 * queue, waited for that lock for ever. And no child reached the end of its event loop, nor did threads it had started,
 * because Node waits there for the posted work. On Node 20, WebAssembly caused the same.
 */
import type { Libc } from "../libc.js";

/** The virtual function table of Node's platform, and its function that V8 calls for the number of threads. */
const FUNCTIONS = "_ZTVN4node12NodePlatformE";
const NUMBER_OF_THREADS = "_ZN4node12NodePlatform21NumberOfWorkerThreadsEv";
/** Does nothing but return 0, in glibc and musl. */
const ZERO = "pthread_mutexattr_destroy";
/** The function is among the first nine in Node 20 to 26. */
const WORDS = 16;

/**
 * Replaces the function. Called before anything else. Returns `false` if Node does not export the symbols.
 *
 * The page with the table stays writable, so that it is a mapping of its own, which HugePages does not touch.
 */
export function hideV8Threads(libc: Libc): boolean {
  const [functions, number, zero] = [FUNCTIONS, NUMBER_OF_THREADS, ZERO].map(libc.symbol);
  if (functions === undefined || number === undefined || zero === undefined) return false;
  const words = libc.words(functions, WORDS);
  const position = words.indexOf(BigInt(number));
  if (position === -1 || !libc.makeWritable(functions + position * words.BYTES_PER_ELEMENT))
    return false;
  words[position] = BigInt(zero);
  return true;
}
