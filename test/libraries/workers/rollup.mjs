import { rollup } from "rollup";
import { Library } from "../library.mjs";

export class Rollup extends Library {
  async use(n) {
    const plugin = {
      name: "memory",
      resolveId: (id) => id,
      load: (id) =>
        id === "main" ? `import x from "x"; console.log(x, ${n})` : "export default 7",
    };
    const bundle = await rollup({ input: "main", plugins: [plugin] });
    const { output } = await bundle.generate({ format: "es" });
    await bundle.close();
    return output[0].code;
  }
}
