/** Start method `spawn`, seen from the parent: each child is a new Node process. Far slower; possible everywhere. */
import type { Usage } from "../../errors.js";
import { assertAllowed } from "../../system/permission.js";
import { processorCount } from "../../system/processor-count.js";
import { fewProcesses, isShortage } from "../../system/shortage.js";
import { Breach } from "../../wire/breach.js";
import { readFromSpawnedChild } from "../../wire/check-message.js";
import { encodeLine } from "../../wire/lines.js";
import type { ToInstance } from "../../wire/notification.js";
import type {
  FromSpawnedChild,
  LedgerShape,
  SpawnedLoad,
  StartRequest,
  ToChild,
  ToHost,
} from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { Deadline } from "../deadline.js";
import { warnOfChange } from "../change-warning.js";
import type { Child, ChildEnd, ChildEvents, Launcher, Room, RoomOptions } from "../launcher.js";
import { LedgerRoom } from "../ledger-room.js";
import { OverflowFiles } from "../overflow.js";
import { killGroup, ProcessGroups } from "../process-groups.js";
import type { Guard } from "../scratch-room.js";
import { SocketPipes } from "../socket-pipes.js";
import {
  type ChildSettings,
  loadError,
  type NodeProcess,
  startHint,
  startNode,
  startupTimeoutError,
} from "../warm-node.js";

export class SpawnLauncher implements Launcher, Guard {
  readonly startMethod = "spawn";
  readonly defaultConcurrency = processorCount();
  readonly #locate: () => WorkerSource;
  readonly #settings: ChildSettings;
  readonly #groups = new ProcessGroups();
  readonly #starting = new Set<SpawnedChildHandle>();
  #source: WorkerSource | undefined;

  constructor(locate: () => WorkerSource, settings: ChildSettings) {
    this.#locate = locate;
    this.#settings = settings;
  }

  get pids(): number[] {
    return this.#groups.pids;
  }

  guard(directory: string): void {
    this.#groups.guard(directory);
  }

  unguard(directory: string): void {
    this.#groups.unguard(directory);
  }

  async ready(): Promise<void> {
    this.#source ??= this.#locate();
  }

  async makeRoom({ scratchRoot, shape, hasChannels }: RoomOptions): Promise<Room> {
    // A spawned child needs this permission to open its channel.
    if (hasChannels) assertAllowed("net", "a channel to a child of a pool");
    const room = new SpawnRoom(scratchRoot, shape, this);
    await room.open(false);
    return room;
  }

  start(request: StartRequest, events: ChildEvents): Child {
    const source = (this.#source ??= this.#locate());
    const child = new SpawnedChildHandle(source, request, this.#settings, {
      ...events,
      onReady: () => {
        this.#starting.delete(child);
        events.onReady();
      },
      onEnd: (end) => {
        if (child.pid !== undefined) this.#groups.forget(child.pid);
        this.#starting.delete(child);
        if (!end.started && end.isScarce && !child.isGivenUp) this.#giveUpStarting(end.reason);
        events.onEnd(end);
      },
    });
    this.#starting.add(child);
    const { pid } = child;
    if (pid !== undefined) {
      this.#groups.watch(pid);
      child.begin({ worker: source, kind: this.startMethod }, request);
    }
    return child;
  }

  async close(): Promise<void> {
    await this.#groups.close();
  }

  /** Gives up all children that are starting: Node hangs during startup when it gets only some of its threads. */
  #giveUpStarting(reason: string): void {
    for (const child of this.#starting) child.giveUp(reason);
  }
}

class SpawnRoom extends LedgerRoom implements Room {
  readonly descriptors = SPAWNED_DESCRIPTORS;
  readonly #launcher: SpawnLauncher;

  constructor(root: string | undefined, shape: LedgerShape, launcher: SpawnLauncher) {
    super(root, shape, launcher);
    this.#launcher = launcher;
  }

  start(request: StartRequest, events: ChildEvents): Child {
    return this.#launcher.start(request, events);
  }
}

/** The channel, stdout and stderr of a child. */
const SPAWNED_DESCRIPTORS = 3;

class SpawnedChildHandle implements Child {
  readonly overflow: OverflowFiles;
  readonly output: SocketPipes | undefined;
  readonly #process: NodeProcess;
  readonly #events: ChildEvents;
  readonly #url: string;
  readonly #isLimited: boolean;
  #fatal: Error | undefined;
  #isReady = false;
  /** Why the child is killed before it is ready, to free what it holds for others. */
  #givenUp: string | undefined;
  #usage: Usage | undefined;
  readonly #startDeadline: Deadline;

  constructor(
    source: WorkerSource,
    { start }: StartRequest,
    settings: ChildSettings,
    events: ChildEvents,
  ) {
    this.#url = source.url;
    this.overflow = new OverflowFiles(start);
    this.#isLimited = start.limits?.memory !== undefined;
    this.#events = events;
    const { onOutput = () => {} } = events;
    const readsOutput = start.mark !== undefined;
    this.#process = startNode(
      "spawned-child",
      [],
      { ...settings, readsOutput },
      (message) => this.#receive(readFromSpawnedChild(message)),
      (reason) => events.onBreach(reason),
    );
    if (events.onClosed) this.#process.channel?.once("close", () => events.onClosed!());
    if (readsOutput && this.pid !== undefined)
      this.output = new SocketPipes(this.#process.child, ["stdout", "stderr"], onOutput);
    this.#startDeadline = new Deadline(settings.startupTimeout, () => {
      // Node waits forever for a thread that it did not get.
      const shortage = fewProcesses();
      if (shortage !== undefined)
        return this.giveUp(`Node hung while it was starting: ${shortage}`);
      this.#fatal = startupTimeoutError(source, settings.startupTimeout);
      this.kill("SIGKILL");
    });
    this.#process.gone.then(
      ({ code, signal }) => this.#end(this.#endOf(code, signal)),
      (error: Error) => this.#end(notStarted(error)),
    );
  }

  get pid(): number | undefined {
    return this.#process.child.pid;
  }

  get isGivenUp(): boolean {
    return this.#givenUp !== undefined;
  }

  giveUp(reason: string): void {
    this.#givenUp = reason;
    this.kill("SIGKILL");
  }

  begin(load: SpawnedLoad, request: StartRequest): void {
    const { channel } = this.#process;
    const lines = encodeLine(load) + encodeLine(request);
    if (request.start.payload) channel?.end(lines);
    else channel?.write(lines);
  }

  send(message: ToChild | ToHost | ToInstance): void {
    const { channel } = this.#process;
    if (channel?.writable) channel.write(encodeLine(message));
  }

  kill(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) killGroup(this.pid, signal);
  }

  #receive(message: FromSpawnedChild): void {
    if ("usage" in message) {
      const [user, system, peakMemory] = message.usage;
      this.#usage = { userCpu: user / 1000, systemCpu: system / 1000, peakMemory };
    } else if ("status" in message || "notify" in message) {
      this.#events.onAnswer(message);
    } else if (message.hello === "ready") {
      warnOfChange(message.change);
      this.#startDeadline.clear();
      this.#isReady = true;
      this.#events.onReady();
    } else if (message.hello === "failed") {
      if (this.#isReady) throw new Breach("said that it failed to start after it had started");
      this.#fatal = loadError(this.#url, message.problem);
    }
  }

  #end(end: ChildEnd): void {
    this.#startDeadline.clear();
    this.output?.close();
    this.#events.onEnd(end);
  }

  #endOf(code: number | null, signal: string | null): ChildEnd {
    if (this.#fatal) return { started: false, reason: this.#fatal.message, fatal: this.#fatal };
    const scarcity = this.#isReady ? undefined : (this.#givenUp ?? scarcityBy(code, signal));
    if (scarcity !== undefined) return { started: false, reason: scarcity, isScarce: true };
    return {
      started: true,
      pid: this.pid!,
      exitCode: code ?? undefined,
      signal: signal ?? undefined,
      usage: this.#usage,
      outOfMemory: this.#isLimited && CRASH_SIGNALS.has(signal ?? ""),
    };
  }
}

/** Returns what Node lacked when it ended like this while it was starting, if it probably lacked something. */
function scarcityBy(code: number | null, signal: string | null): string | undefined {
  const hint = startHint(code, signal);
  const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
  return hint === "" ? undefined : `Node ended ${how} while it was starting${hint}`;
}

/** After a shortage, a start may succeed once other children have ended. */
function notStarted(error: Error): ChildEnd {
  const { message: reason, cause } = error;
  return isShortage(cause)
    ? { started: false, reason, isScarce: true, cause }
    : { started: false, reason, fatal: error };
}

/** The signals by which V8 and native code end when they get no memory. */
const CRASH_SIGNALS = new Set(["SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGSEGV"]);
