/** The cgroups of this process: its own and those above it, up to the mounted root; see cgroups(7). */
import { readFileSync } from "node:fs";
import path from "node:path";

/** Returns the directories of version 2, and of one controller of version 1, which may coexist; innermost first. */
export function cgroupsOf(controller: string, root = "/"): string[] {
  const lines = (readIn(root, "proc/self/cgroup") ?? "").split("\n");
  return lines.flatMap((line) => {
    // "0::/path" is version 2; "4:memory:/path" version 1.
    const [, controllers, own] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || own === undefined) return [];
    if (controllers !== "" && !controllers.split(",").includes(controller)) return [];
    const mounts = controllers === "" ? ["sys/fs/cgroup"] : [`sys/fs/cgroup/${controller}`];
    return mounts.flatMap((mount) => upwards(own).map((name) => path.join(root, mount, name)));
  });
}

/**
 * Returns a path and all paths above it. In a container the path may be the host's; then only the last of these exists,
 * because the container's own cgroup is mounted as the root.
 */
function upwards(own: string): string[] {
  const names = own.split("/").filter((name) => name !== "" && name !== "..");
  return Array.from({ length: names.length + 1 }, (_, above) =>
    names.slice(0, names.length - above).join("/"),
  );
}

/** Returns the trimmed text of a file; `undefined` if it cannot be read. */
export function readIn(directory: string, name: string): string | undefined {
  try {
    return readFileSync(path.join(directory, name), "latin1").trim();
  } catch {
    return undefined;
  }
}
