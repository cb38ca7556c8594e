import { Esbuild } from "./esbuild.mjs";

export class EsbuildAtTop extends Esbuild {
  static package = "esbuild";
  static usedAtTopLevel = true;
}

await new Esbuild().use(0);
