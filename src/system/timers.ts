/**
 * Node's timers as they were when this package was loaded. Test runners replace the global timers, and some also those
 * of `node:timers`; but child processes run in real time, so a call must still end in a test with a fake clock.
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
