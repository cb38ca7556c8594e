import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { create, extract } from "tar";
import { Library } from "../library.mjs";

export class Tar extends Library {
  async use(n) {
    const directory = await mkdtemp(`${process.env.SCRATCH}/tar-`);
    await writeFile(`${directory}/a.txt`, `item ${n}`);
    await create({ gzip: true, file: `${directory}/a.tgz`, cwd: directory }, ["a.txt"]);
    await rm(`${directory}/a.txt`);
    await extract({ file: `${directory}/a.tgz`, cwd: directory });
    return await readFile(`${directory}/a.txt`, "utf8");
  }
}
