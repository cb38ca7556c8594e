/** Locates the files of this package that children and threads start from. A bundle contains none of them. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { LaunchError } from "../errors.js";
import { OWN_FOLDER } from "../wire/stack-frames.js";

export type Entry = "fork-server" | "spawned-child" | "thread-child";

/** @throws LaunchError when this package has been bundled, or removed since it was loaded */
export function entryFile(entry: Entry): string {
  // Not `new URL(..., import.meta.url)`: bundlers copy such a file, but not the files that it imports.
  const file = OWN_FOLDER?.startsWith("file:") && fileURLToPath(`${OWN_FOLDER}child/${entry}.js`);
  if (file && existsSync(file)) return file;
  throw new LaunchError(
    "forkmap has been bundled into the program, and children need files of its own: keep it out of the bundle, as an external " +
      'package (`external: ["forkmap"]`, `--external:forkmap`, `externals`), and install it where the program runs' +
      (file
        ? `. If it is not in a bundle, it was removed while the program ran: there is no ${file}`
        : ""),
  );
}
