/**
 * WebAssembly without V8's threads, which a forked child does not have: on Node 20 a promise of `WebAssembly.compile`
 * never settles there. The same interface, done by the synchronous constructors.
 */

export function makeWasmSynchronous(): void {
  // With --jitless; with --frozen-intrinsics, where children are spawned and have those threads.
  if (typeof WebAssembly === "undefined" || Object.isFrozen(WebAssembly)) return;
  Object.assign(WebAssembly, { compile, instantiate, compileStreaming, instantiateStreaming });
}

type Source = BufferSource | WebAssembly.Module;
type Imports = WebAssembly.Imports;
type Answer = Response | PromiseLike<Response>;
/** What later versions take, such as `builtins`. */
type Options = WebAssembly.CompileOptions;

async function compile(bytes: BufferSource, options?: Options) {
  return new WebAssembly.Module(bytes, options);
}

async function instantiate(source: Source, imports?: Imports, options?: Options) {
  if (isModule(source)) return new WebAssembly.Instance(source, imports);
  const module = new WebAssembly.Module(source, options);
  return { module, instance: new WebAssembly.Instance(module, imports) };
}

/** It may be one of another realm. */
function isModule(source: Source): source is WebAssembly.Module {
  return Object.prototype.toString.call(source) === "[object WebAssembly.Module]";
}

async function compileStreaming(source: Answer, options?: Options) {
  return await compile(await bytesOf(source), options);
}

async function instantiateStreaming(source: Answer, imports?: Imports, options?: Options) {
  return await instantiate(await bytesOf(source), imports, options);
}

async function bytesOf(source: Answer): Promise<ArrayBuffer> {
  const response = await source;
  const type = response.headers.get("content-type");
  if (type === "application/wasm") return await response.arrayBuffer();
  throw new TypeError(`Expected the content type "application/wasm", got ${JSON.stringify(type)}`);
}
