/** Members of `process` that Node has on all supported versions but does not document. */
declare namespace NodeJS {
  interface Process {
    /** Ends the process without the `exit` event; what `process.exit` calls last. */
    reallyExit(code?: number): never;
    /** Called by Node, by this name, with an uncaught error; returns whether the error was handled. */
    _fatalException(error: unknown, fromPromise: boolean): boolean;
    /** Drains `process.nextTick` and the microtasks. Node calls it after every callback from C++. */
    _tickCallback(): void;
    /** The built-in modules that have been loaded, as `NativeModule <name>`. */
    readonly moduleLoadList: readonly string[];
  }
}
