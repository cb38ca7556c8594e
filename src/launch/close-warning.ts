/** The warning that `close()` emits before it kills what has not ended within `closeTimeout`. */

/** @param what - what is still running, and in which process */
export function warnOfClose(what: string): void {
  process.emitWarning(`close() has waited for ${what} longer than \`closeTimeout\`: it is killed`, {
    type: "ForkmapWarning",
    code: "FORKMAP_CLOSE",
  });
}
