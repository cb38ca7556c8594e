import { buffer } from "node:stream/consumers";
import { TarArchive } from "archiver";
import { Library, digest } from "../library.mjs";

export class Archiver extends Library {
  async use(n) {
    const archive = new TarArchive({ gzip: true });
    archive.append(`item ${n} `.repeat(50), { name: "a.txt", date: new Date(0) });
    archive.finalize();
    return digest(await buffer(archive));
  }
}
