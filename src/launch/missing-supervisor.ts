/** Warns of a directory that `supervised` names and in which no supervisor runs: its children would be unknown without a word. */
import { setTimeout } from "../system/timers.js";

/** Programs that are started together may begin in any order. */
const PATIENCE_MS = 10_000;

const expected = new Set<string>();

/** Looks once for each directory, after a while. */
export function expectSupervisor(directory: string): void {
  if (expected.has(directory)) return;
  expected.add(directory);
  setTimeout(() => void look(directory), PATIENCE_MS).unref();
}

async function look(directory: string): Promise<void> {
  // Not before: it loads node:net.
  const { connectTo } = await import("../wire/socket-path.js");
  try {
    const socket = connectTo(directory).unref();
    socket.once("connect", () => socket.destroy());
    socket.once("error", (error) => warn(directory, error));
  } catch (error) {
    warn(directory, error as Error);
  }
}

function warn(directory: string, { message }: Error): void {
  process.emitWarning(
    `No supervisor runs in ${directory}, the directory that \`supervised\` names (${message}): ` +
      "children are not watched, and have no metrics, until one does. It has that directory as its option `directory`",
    { type: "ForkmapWarning", code: "FORKMAP_SUPERVISOR" },
  );
}
