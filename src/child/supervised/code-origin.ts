/** The file and the package that a script is of. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "../../system/json.js";

export interface CodeOrigin {
  /** Path of its file, or the name it goes by. */
  readonly file: string;
  /** Name of the npm package; `(program)` if the program's package has none, `node` for Node itself, `(native)` for what is no script. */
  readonly package: string;
}

const NODE_MODULES = /^.*[/\\]node_modules[/\\]((?:@[^/\\]+[/\\])?[^/\\]+)/;
const PROGRAM = "(program)";
const NATIVE: CodeOrigin = { file: "(native)", package: "(native)" };

/** Looks once at each script and folder. */
export class CodeOrigins {
  readonly #origins = new Map<string, CodeOrigin>();
  readonly #packages = new Map<string, string>();

  /** @param script - URL or path, as V8 has it */
  of(script: string): CodeOrigin {
    let origin = this.#origins.get(script);
    if (!origin) this.#origins.set(script, (origin = this.#find(script)));
    return origin;
  }

  #find(script: string): CodeOrigin {
    if (script === "") return NATIVE;
    if (script.startsWith("node:")) return { file: script, package: "node" };
    const file = fileOf(script);
    const installed = NODE_MODULES.exec(file)?.[1]?.replaceAll("\\", "/");
    if (installed) return { file, package: installed };
    // Code that has been evaluated may go by any name.
    if (!path.isAbsolute(file)) return { file, package: PROGRAM };
    return { file, package: this.#packageOf(path.dirname(file)) };
  }

  /** The nearest package.json that has a name: some only say which kind of modules a folder has. */
  #packageOf(folder: string): string {
    const known = this.#packages.get(folder);
    if (known !== undefined) return known;
    const parent = path.dirname(folder);
    const found = nameIn(folder) ?? (parent === folder ? PROGRAM : this.#packageOf(parent));
    this.#packages.set(folder, found);
    return found;
  }
}

/** Without the query by which a program loads a module again. */
function fileOf(script: string): string {
  if (!script.startsWith("file:")) return script;
  try {
    return fileURLToPath(script);
  } catch {
    return script;
  }
}

function nameIn(folder: string): string | undefined {
  try {
    const { name } = parse(readFileSync(path.join(folder, "package.json"), "utf8")) as {
      name?: unknown;
    };
    return typeof name === "string" && name !== "" ? name : undefined;
  } catch {
    return undefined;
  }
}
