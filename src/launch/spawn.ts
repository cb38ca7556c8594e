/** Start method `spawn`, seen from the parent: a Node process per item. Slower by far, and possible everywhere. */
import {
  encodeLine,
  type FromSpawnedChild,
  type LastWord,
  type Request,
  type WorkerSource,
} from "../protocol.js";
import type { Usage } from "../errors.js";
import { processorCount } from "../processor-count.js";
import type { ChildEnd, Launched, Launcher } from "./launcher.js";
import { Reaper } from "./reaper.js";
import { type ChildSettings, loadError, startNode, startupTimeoutError } from "./warm-node.js";

export class SpawnLauncher implements Launcher {
  readonly startMethod = "spawn";
  readonly defaultConcurrency = processorCount();
  readonly #locate: () => WorkerSource;
  readonly #settings: ChildSettings;
  readonly #children = new Set<number>();
  #source: WorkerSource | undefined;
  #startedReaper: Reaper | undefined;

  constructor(locate: () => WorkerSource, settings: ChildSettings) {
    this.#locate = locate;
    this.#settings = settings;
  }

  get pids(): number[] {
    const reaper = this.#startedReaper?.pid;
    return [...(reaper === undefined ? [] : [reaper]), ...this.#children];
  }

  async ready(): Promise<void> {
    this.#source ??= this.#locate();
  }

  guard(directory: string): void {
    this.#reaper.guard(directory);
  }

  unguard(directory: string): void {
    this.#reaper.unguard(directory);
  }

  launch(request: Request): Launched {
    const source = (this.#source ??= this.#locate());
    const { startupTimeout } = this.#settings;
    const facts: Facts = { begun: false };

    const { child, channel, gone } = startNode("spawned-child", [], this.#settings, (message) => {
      const said = message as FromSpawnedChild;
      if ("hello" in said) {
        if (said.hello === "failed") facts.fatal = loadError(source.url, said.problem);
      } else if ("begun" in said) {
        facts.begun = true;
        clearTimeout(startTimer);
        launched.onBegun?.();
      } else {
        const { id: _, usage, ...word } = said;
        facts.word ??= word as LastWord;
        facts.usage ??= {
          userCpu: usage[0] / 1000,
          systemCpu: usage[1] / 1000,
          peakMemory: usage[2],
        };
      }
    });
    const startTimer = setTimeout(() => {
      facts.fatal = startupTimeoutError(source.url, startupTimeout);
      launched.kill("SIGKILL");
    }, startupTimeout);

    const { pid } = child;
    const launched: Launched = {
      beginsAtOnce: false,
      kill: (signal) => {
        if (pid !== undefined) killGroup(pid, signal);
      },
      ended: gone.then(
        ({ code, signal }) => {
          clearTimeout(startTimer);
          this.#forget(pid!);
          const end = endOf(pid!, code, signal, facts);
          const limited = request.payload.limits?.memory !== undefined;
          return { ...end, outOfMemory: limited && CRASH_SIGNALS.has(signal ?? "") };
        },
        (error: Error): ChildEnd => {
          clearTimeout(startTimer);
          return { started: false, reason: error.message, fatal: error };
        },
      ),
    };
    if (pid !== undefined) {
      this.#children.add(pid);
      // Before the child has read its item: from then on it may loop for ever and not notice our end.
      this.#reaper.watch(pid);
      channel.end(encodeLine(source) + encodeLine(request));
    }
    return launched;
  }

  async close(): Promise<void> {
    await this.#startedReaper?.close();
    this.#startedReaper = undefined;
  }

  get #reaper(): Reaper {
    return (this.#startedReaper ??= new Reaper());
  }

  #forget(pid: number): void {
    // What it has started and left in its group.
    killGroup(pid, "SIGKILL");
    this.#children.delete(pid);
    this.#reaper.forget(pid);
  }
}

/** How V8 and native code end when they get no memory. */
const CRASH_SIGNALS = new Set(["SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGSEGV"]);

interface Facts {
  begun: boolean;
  word?: LastWord;
  usage?: Usage;
  fatal?: Error;
}

function endOf(pid: number, code: number | null, signal: string | null, facts: Facts): ChildEnd {
  const { begun, word, usage, fatal } = facts;
  if (fatal) return { started: false, reason: fatal.message, fatal };
  return {
    started: true,
    pid,
    begun,
    exitCode: code ?? undefined,
    signal: signal ?? undefined,
    usage,
    word,
  };
}

/** Windows has no groups: there the child alone. */
function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, signal);
  } catch {
    // Nobody of it is left.
  }
}
