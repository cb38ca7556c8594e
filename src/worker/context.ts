/** Where a `Parallel` that is used inside a child finds the frames around it; a symbol, as there may be two copies of us. */
export const CONTEXT = Symbol.for("forkmap.context");
