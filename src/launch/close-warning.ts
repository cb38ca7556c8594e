/** What `close()` has waited for longer than `closeTimeout`, before it is killed. */

/** @param what - what it is, and whose */
export function warnOfClose(what: string): void {
  process.emitWarning(`close() has waited for ${what} longer than \`closeTimeout\`: it is killed`, {
    type: "ForkmapWarning",
    code: "FORKMAP_CLOSE",
  });
}
