/** Warns that children have another value of a variable than the program. */

const warned = new Set<string>();

/** Warns once for each worker and variable. @param change - what a child has noticed, if anything */
export function warnOfChange(change: string | undefined): void {
  if (change === undefined || warned.has(change)) return;
  warned.add(change);
  process.emitWarning(
    `${change} in its processes: they run the file of the program again, up to where it is used. ` +
      "Pass what differs with the items, or as a field of a class",
    { type: "ForkmapWarning", code: "FORKMAP_CHANGED" },
  );
}
