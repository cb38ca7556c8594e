/** Warns of a directory that `supervised` names and in which no supervisor runs: its children would be unknown without a word. */
import { clearTimeout, setTimeout } from "../system/timers.js";

/** Programs that are started together may begin in any order. */
const PATIENCE_MS = 10_000;
/** One that has died is started again meanwhile. */
const AGAIN_MS = 5000;

const warned = new Set<string>();

/** Looks after a while, until it is told that nobody waits for a supervisor there any more. */
export function expectSupervisor(directory: string): () => void {
  const later = (ms: number, isMissing: () => void) =>
    setTimeout(() => void look(directory, isMissing), ms).unref();
  let isOver = false;
  let timer = later(PATIENCE_MS, () => {
    if (!isOver) timer = later(AGAIN_MS, () => isOver || warn(directory));
  });
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

async function look(directory: string, isMissing: () => void): Promise<void> {
  // Not before: it loads node:net.
  const { connectTo } = await import("../wire/socket-path.js");
  try {
    const socket = connectTo(directory).unref();
    socket.once("connect", () => socket.destroy());
    socket.once("error", isMissing);
  } catch {
    isMissing();
  }
}

function warn(directory: string): void {
  if (warned.has(directory)) return;
  warned.add(directory);
  process.emitWarning(
    `No supervisor runs in ${directory}, the directory that \`supervised\` names: ` +
      "children are not watched, and have no metrics, until one does. It has that directory as its option `directory`",
    { type: "ForkmapWarning", code: "FORKMAP_SUPERVISOR" },
  );
}
