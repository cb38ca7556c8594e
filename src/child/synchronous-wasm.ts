/**
 * WebAssembly without V8's threads, which a forked child does not have: on Node 20 a promise of `WebAssembly.compile`
 * never settles there. The same interface, done by the synchronous constructors.
 */

export function makeWasmSynchronous(): void {
  // With --jitless.
  if (typeof WebAssembly === "undefined") return;
  Object.assign(WebAssembly, { compile, instantiate, compileStreaming, instantiateStreaming });
}

type Source = BufferSource | WebAssembly.Module;
type Imports = WebAssembly.Imports;
type Answer = Response | PromiseLike<Response>;

async function compile(bytes: BufferSource) {
  return new WebAssembly.Module(bytes);
}

async function instantiate(source: Source, imports?: Imports) {
  if (source instanceof WebAssembly.Module) return new WebAssembly.Instance(source, imports);
  const module = new WebAssembly.Module(source);
  return { module, instance: new WebAssembly.Instance(module, imports) };
}

async function compileStreaming(source: Answer) {
  return await compile(await bytesOf(source));
}

async function instantiateStreaming(source: Answer, imports?: Imports) {
  return await instantiate(await bytesOf(source), imports);
}

async function bytesOf(source: Answer): Promise<ArrayBuffer> {
  const response = await source;
  const type = response.headers.get("content-type");
  if (type === "application/wasm") return await response.arrayBuffer();
  throw new TypeError(`Expected the content type "application/wasm", got ${JSON.stringify(type)}`);
}
