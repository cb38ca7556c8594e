/** What connects an instance of a service to the process that keeps it. */
import type { FromInstance } from "../../wire/notification.js";

export interface ServiceLink {
  /** Sends a message to the container; the process may end right after. */
  say(message: FromInstance): void;
  /** Calls `interrupt` when the instance is asked to stop; until then the default action of SIGINT ends it. */
  onInterrupt(interrupt: () => void): void;
  /** Returns a descriptor of its own for an open socket. */
  duplicate(fd: number): number;
  /** Maps a file that other instances map too; `undefined` if that is impossible. */
  map(file: string): Int32Array | undefined;
  /** Ends the child. */
  leave(code: number): void;
}
