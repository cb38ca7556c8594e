/** Members of `process` that Node has on all supported versions but does not document. */
declare namespace NodeJS {
  interface Process {
    /** Ends the process without the `exit` event; what `process.exit` calls last. */
    reallyExit(code?: number): never;
    /** What Node calls, by this name, with an error that nobody has caught; whether it has been handled. */
    _fatalException(error: unknown, fromPromise: boolean): boolean;
    /** Drains `process.nextTick` and the microtasks; what Node calls after every callback from C++. */
    _tickCallback(): void;
    /** The built-in modules that have been loaded, as `NativeModule <name>`. */
    readonly moduleLoadList: readonly string[];
  }
}
