/** What every start method does for the scheduler: starts a child for an item and tells how it ended. */
import type { LastWord, Request } from "../protocol.js";
import type { StartMethod } from "../worker.js";
import type { Usage } from "../errors.js";

export interface Launcher {
  readonly startMethod: StartMethod;
  /** Children alive at once when the user does not say. */
  readonly defaultConcurrency: number;
  /** Processes of our own that are alive. */
  readonly pids: readonly number[];
  /** Resolves when a child could be started now; rejects with what keeps it from that. */
  ready(): Promise<void>;
  /** Has this directory removed should this process be killed. */
  guard(directory: string): void;
  unguard(directory: string): void;
  /** Starts a child and gives it its item. */
  launch(request: Request): Launched;
  /** Ends what is warm; only when no child is alive. */
  close(): Promise<void>;
}

export interface Launched {
  readonly ended: Promise<ChildEnd>;
  kill(signal: NodeJS.Signals): void;
  /** Whether its time counts from the launch; else from `onBegun`. */
  readonly beginsAtOnce: boolean;
  onBegun?: () => void;
  /** Called when no process could be made for it yet: its time does not count until `onBegun`. */
  onWaiting?: () => void;
}

/** How a child ended. */
export type ChildEnd =
  | {
      readonly started: true;
      /** Unknown when the fork server died before it could say. */
      readonly pid?: number | undefined;
      readonly begun: boolean;
      readonly exitCode?: number | undefined;
      readonly signal?: string | undefined;
      readonly usage?: Usage | undefined;
      /** The facts point to memory: V8's heap limit, `limits.memory`, the kernel's out-of-memory killer. */
      readonly outOfMemory?: boolean | undefined;
      readonly word?: LastWord | undefined;
      /** Why it ended, when that was not its own doing. */
      readonly reason?: string | undefined;
    }
  /** `fatal`: an error no other item would escape. */
  | { readonly started: false; readonly reason: string; readonly fatal?: Error };
