/**
 * Has V8 know of no thread for work in the background, as a forked child has none: it then does all work where it arises.
 *
 * `--single-threaded` does not do all of that. On Node 26 V8 hands work to such a thread in every collection of young objects
 * (ScavengerCollector calls `PostJob`). Of 60,000 children one, forked while the thread held the lock of its queue, waited for that
 * lock for ever; and none came to the end of its event loop, nor a thread it had started to the end of its own, because Node waits
 * there until what was handed over is done. On Node 20 so it was with WebAssembly.
 */
import type { Libc } from "../libc.js";

/** The virtual functions of Node's platform, and the one by which V8 asks for the number of threads. */
const FUNCTIONS = "_ZTVN4node12NodePlatformE";
const NUMBER_OF_THREADS = "_ZN4node12NodePlatform21NumberOfWorkerThreadsEv";
/** Does nothing but give 0, in glibc and musl. */
const ZERO = "pthread_mutexattr_destroy";
/** It is among the first nine in Node 20 to 26. */
const WORDS = 16;

/**
 * To be called before anything else is. `false` where Node does not tell where these functions are.
 *
 * The page with them stays writable: it is a mapping of its own then, and HugePages leaves it alone.
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
