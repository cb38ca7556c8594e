/**
 * WebAssembly without V8's threads, which a forked child does not have: on Node 20 a promise of `WebAssembly.compile`
 * never settles there. The same interface, done by the synchronous constructors.
 */

type Source = BufferSource | WebAssembly.Module;

export function makeWasmSynchronous(): void {
  const compile = async (bytes: BufferSource) => new WebAssembly.Module(bytes);

  const instantiate = async (source: Source, imports?: WebAssembly.Imports) => {
    if (source instanceof WebAssembly.Module) return new WebAssembly.Instance(source, imports);
    const module = new WebAssembly.Module(source);
    return { module, instance: new WebAssembly.Instance(module, imports) };
  };

  const bytesOf = async (source: Response | PromiseLike<Response>) => {
    const response = await source;
    const type = response.headers.get("content-type");
    if (type !== "application/wasm") {
      throw new TypeError(
        `Expected the content type "application/wasm", got ${JSON.stringify(type)}`,
      );
    }
    return await response.arrayBuffer();
  };

  Object.assign(WebAssembly, {
    compile,
    instantiate,
    compileStreaming: async (source: Response | PromiseLike<Response>) =>
      await compile(await bytesOf(source)),
    instantiateStreaming: async (
      source: Response | PromiseLike<Response>,
      imports?: WebAssembly.Imports,
    ) => await instantiate(await bytesOf(source), imports),
  });
}
