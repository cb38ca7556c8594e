/** What both ways to record allocations find: how much was allocated where. */

export interface Frame {
  /** Empty for a function without a name, and for the code of a module itself. */
  readonly name: string;
  /** URL or path of its script; empty for what is no script. */
  readonly script: string;
  /** Where the function begins, from 1; 0 if it is unknown. */
  readonly line: number;
}

/** A function that allocates. */
export interface AllocationSite {
  readonly frame: Frame;
  /** If it is of Node: the nearest function of the program that has called it. */
  readonly calledBy: Frame | undefined;
}

/** Some objects that have been allocated at one site. */
export interface Allocations {
  readonly site: AllocationSite;
  readonly bytes: number;
  /** Undefined in a sample. */
  readonly count?: number;
  readonly className?: string;
}

/**
 * @param path - the functions that were being called, from the one that allocates to the outermost. What has no script, as `Map.prototype.set`, has
 *   no place of its own: its caller counts
 */
export function siteOf(path: Iterable<Frame>): AllocationSite {
  let frame: Frame | undefined;
  let first: Frame | undefined;
  for (const each of path) {
    first ??= each;
    if (each.script === "") continue;
    const isNode = each.script.startsWith("node:");
    if (frame) {
      if (!isNode) return { frame, calledBy: each };
      continue;
    }
    if (!isNode) return { frame: each, calledBy: undefined };
    frame = each;
  }
  return { frame: frame ?? first!, calledBy: undefined };
}
