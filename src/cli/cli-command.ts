/** The interface between main.ts and a command. Each command is in a file named after it. */

export interface CliCommand {
  readonly name: string;
  /** In a few words, for the list of commands. */
  readonly summary: string;
  /** What `--help` prints. */
  readonly help: string;
  /**
   * @param args - what follows the name of the command
   * @param signal - aborted when the command has to stop: it cleans up and throws the signal's reason
   * @returns the exit code
   * @throws UsageError when `args` are invalid
   */
  run(args: readonly string[], signal: AbortSignal): Promise<number>;
}

/** The command line is invalid; the message is one line. */
export class UsageError extends Error {}

/** Whether output to `stream` may have colours. `styleText` checks this itself only in some versions of Node. */
export function hasColours(stream: { readonly isTTY?: boolean }): boolean {
  const { NO_COLOR = "", TERM } = process.env;
  return stream.isTTY === true && NO_COLOR === "" && TERM !== "dumb";
}
