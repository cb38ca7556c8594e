/** Members of `process` that Node has on all supported versions but does not document. */
declare namespace NodeJS {
  interface Process {
    /** Ends the process without the `exit` event; what `process.exit` calls last. */
    reallyExit(code?: number): never;
    /** Drains `process.nextTick` and the microtasks; what Node calls after every callback from C++. */
    _tickCallback(): void;
    /** The built-in modules that have been loaded, as `NativeModule <name>`. */
    readonly moduleLoadList: readonly string[];
  }
}

type BufferSource = ArrayBufferView | ArrayBuffer;

/** As far as it is used here: @types/node leaves it to the DOM's types, which a Node library does not load. */
declare namespace WebAssembly {
  type CompileOptions = Record<string, unknown>;
  type Imports = Record<string, Record<string, unknown>>;
  // oxlint-disable-next-line typescript/no-extraneous-class -- it is one
  class Module {
    constructor(bytes: BufferSource, options?: CompileOptions);
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Record<string, unknown>;
  }
}
