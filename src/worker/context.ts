/** Key of `globalThis` for the frames around a child; a global symbol, as a process may have two copies of this package. */
export const CONTEXT = Symbol.for("forkmap.context");
