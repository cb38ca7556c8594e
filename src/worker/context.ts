/** Key under which `globalThis` of a child holds the frames around it. A global symbol, as a process may have two copies of this package. */
export const CONTEXT = Symbol.for("forkmap.context");
