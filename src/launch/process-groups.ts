/**
 * The live children that this process started itself, each the leader of a process group. A reaper kills them, with all
 * they have started, should this process be killed.
 */
import { Reaper } from "./reaper.js";
import type { Guard } from "./scratch-room.js";

export class ProcessGroups implements Guard {
  readonly #leaders = new Set<number>();
  #startedReaper: Reaper | undefined;

  /** Pids of the leaders and of the reaper. */
  get pids(): number[] {
    const reaper = this.#startedReaper?.pid;
    return [...(reaper === undefined ? [] : [reaper]), ...this.#leaders];
  }

  guard(directory: string): void {
    this.#reaper.guard(directory);
  }

  unguard(directory: string): void {
    this.#reaper.unguard(directory);
  }

  /** Called before the child has read its item: from then on it may loop forever and not notice this process's end. */
  watch(leader: number): void {
    this.#leaders.add(leader);
    this.#reaper.watch(leader);
  }

  /** Called when the leader has ended: kills what it started and left in its group. */
  forget(leader: number): void {
    killGroup(leader, "SIGKILL");
    this.#leaders.delete(leader);
    this.#reaper.forget(leader);
  }

  async close(): Promise<void> {
    await this.#startedReaper?.close();
    this.#startedReaper = undefined;
  }

  get #reaper(): Reaper {
    return (this.#startedReaper ??= new Reaper());
  }
}

/** Sends a signal to the whole group; on Windows, which has no groups, to the child alone. */
export function killGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === "win32" ? leader : -leader, signal);
  } catch {
    // The group is empty.
  }
}
