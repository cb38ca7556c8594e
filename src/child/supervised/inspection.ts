/**
 * The connection to the inspector of this thread. All diagnostics share one: when any connection of a thread is closed, V8 stops the
 * tracking of allocations that another one has started. It is closed when no diagnostic uses it.
 */
import { Session } from "node:inspector/promises";

let session: Session | undefined;
let users = 0;

/** Each use ends with a call of `endInspection`. */
export function beginInspection(): Session {
  if (!session) {
    const opened = new Session();
    opened.connect();
    session = opened;
  }
  users += 1;
  return session;
}

export function endInspection(): void {
  users -= 1;
  if (users > 0) return;
  session!.disconnect();
  session = undefined;
}

/** Returns what `use` returns. */
export async function inspect<Value>(use: (session: Session) => Promise<Value>): Promise<Value> {
  const connected = beginInspection();
  try {
    return await use(connected);
  } finally {
    endInspection();
  }
}
