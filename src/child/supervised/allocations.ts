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

/** Whether it is no script of the program: of Node, or nothing that has a name. */
export function isOfNode({ script }: Frame): boolean {
  return script === "" || script.startsWith("node:");
}
