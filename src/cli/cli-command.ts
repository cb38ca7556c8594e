/** What main.ts knows of a command: each is a file of its own, named after it. */

export interface CliCommand {
  readonly name: string;
  /** In a few words, for the list of commands. */
  readonly summary: string;
  /** What `--help` prints. */
  readonly help: string;
  /**
   * @param args - what follows the name of the command
   * @param signal - aborted when the command is to stop: it tidies up and throws the signal's reason
   * @returns the exit code
   * @throws UsageError when `args` are not what they have to be
   */
  run(args: readonly string[], signal: AbortSignal): Promise<number>;
}

/** The command line is not what it has to be; the message is one line. */
export class UsageError extends Error {}

/** Whether what is printed to `stream` may have colours. Whether `styleText` asks itself depends on the version of Node. */
export function hasColours(stream: { readonly isTTY?: boolean }): boolean {
  const { NO_COLOR = "", TERM } = process.env;
  return stream.isTTY === true && NO_COLOR === "" && TERM !== "dumb";
}
