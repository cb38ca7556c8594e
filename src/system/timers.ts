/**
 * Node's timers as they were when this package was loaded. Test runners replace the global ones, and some those of
 * `node:timers` as well, but other processes keep real time: a call in a test with a fake clock must end all the same.
 */
import timers from "node:timers";

export const {
  clearImmediate,
  clearInterval,
  clearTimeout,
  setImmediate,
  setInterval,
  setTimeout,
} = timers;
