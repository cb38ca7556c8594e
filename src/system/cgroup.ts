/** The cgroups that hold this process: its own one and those above it, up to the root of what is mounted; see cgroups(7). */
import { readFileSync } from "node:fs";
import path from "node:path";

/** Of version 2, and of one controller of version 1, which may be mounted beside it; the innermost first. */
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
 * A path and all above it. In a container the path may be the host's, and then only the last of these is there: what is
 * mounted is the container's own cgroup.
 */
function upwards(own: string): string[] {
  const names = own.split("/").filter((name) => name !== "" && name !== "..");
  return Array.from({ length: names.length + 1 }, (_, above) =>
    names.slice(0, names.length - above).join("/"),
  );
}

/** What a file says; `undefined` when it is not there. */
export function readIn(directory: string, name: string): string | undefined {
  try {
    return readFileSync(path.join(directory, name), "latin1").trim();
  } catch {
    return undefined;
  }
}
