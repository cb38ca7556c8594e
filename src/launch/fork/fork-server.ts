/**
 * The fork server, seen from the parent: starts the process, sends it the worker and the requests for children, and
 * passes on what it reports. If the fork server dies, kills its session and reports the end of all its children. What
 * happens inside the fork server is in child/fork-server.ts.
 */
import { ClosedError, LaunchError, UnfitError } from "../../errors.js";
import { shortageInWords } from "../../system/shortage.js";
import { Breach, excerpt } from "../../wire/breach.js";
import { readFromForkServer } from "../../wire/check-message.js";
import { encodeLine } from "../../wire/lines.js";
import { warnOfChange } from "../change-warning.js";
import type { ChildReport, FromForkServer, Order, StartRequest } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { warnOfClose } from "../close-warning.js";
import { Deadline } from "../deadline.js";
import type { ChildEnd } from "../launcher.js";
import {
  type ChildSettings,
  errnoName,
  loadError,
  type NodeProcess,
  signalName,
  startHint,
  startNode,
  startupTimeoutError,
} from "../warm-node.js";
import { type ForkedChildEvents, ForkedChildHandle } from "./forked-child-handle.js";
import { killSession } from "./kill-session.js";

const V8_FLAGS = [
  // V8 must not use threads: a child would wait for the work of a thread that a fork does not copy. Node starts one
  // thread all the same; asked for 0 it would choose a number itself.
  "--single-threaded",
  "--v8-pool-size=1",
  // The baseline compiler of WebAssembly relies on a thread to optimise hot code.
  "--no-liftoff",
  // Keep compiled code: what the fork server has dropped, every child compiles again.
  "--no-flush-bytecode",
  // Otherwise V8 calls its builtins through a second mapping of their code, whose pages every child would map as well.
  "--no-short-builtin-calls",
  // Its timer would continue in every child: all that live for some seconds would collect garbage at the same time.
  "--no-memory-reducer",
  // Without threads, V8 never replaces the code that Maglev, its mid-tier compiler, makes of a running loop: such a
  // loop is 8 times as slow.
  ...(hasMaglev() ? ["--no-maglev-osr"] : []),
];

/** Older versions reject the flag. */
function hasMaglev(): boolean {
  return Number.parseInt(process.versions.node) >= 22;
}

interface Settle {
  resolve(): void;
  reject(error: Error): void;
}

export class ForkServer {
  readonly ready: Promise<void>;
  readonly #process: NodeProcess;
  readonly #children = new Map<string, ForkedChildHandle>();
  readonly #source: WorkerSource | undefined;
  /** Set until the fork server is ready or has failed. */
  #settleReady: Settle | undefined;
  #startDeadline: Deadline | undefined;
  #failure: Error | undefined;
  /** In ms. */
  readonly #closeTimeout: number;
  readonly #isAgain: boolean;
  readonly #onUnfit: (reason: UnfitError) => Promise<void>;

  /**
   * @param isAgain - whether an earlier fork server was ready: if this one is killed while it starts, another is tried
   * @param onUnfit - called if the fork server cannot fork while requests wait; then their children can be spawned
   */
  constructor(
    locate: () => WorkerSource,
    settings: ChildSettings,
    isAgain: boolean,
    onGone: () => void,
    onUnfit: (reason: UnfitError) => Promise<void>,
  ) {
    this.#isAgain = isAgain;
    this.#onUnfit = onUnfit;
    this.#closeTimeout = settings.closeTimeout;
    this.#process = startNode(
      "fork-server",
      V8_FLAGS,
      settings,
      (message) => this.#receive(readFromForkServer(message)),
      (reason) => this.#fail(new LaunchError(`The fork server was killed: it ${reason}`)),
    );
    this.ready = new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    this.ready.catch(() => {});
    this.#process.gone.then(
      async ({ code, signal }) => {
        if (this.#failure instanceof UnfitError && this.#children.size > 0) {
          return await this.#handOver(this.#failure).finally(onGone);
        }
        onGone();
        this.#endAll(code, signal);
      },
      (error: Error) => {
        onGone();
        this.#fail(error);
        this.#endAll(null, null);
      },
    );
    try {
      this.#source = locate();
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    const { readsOutput, startupTimeout, sockets = [] } = settings;
    this.send({
      do: "load",
      worker: this.#source,
      parentPid: process.pid,
      readsOutput,
      startupTimeout,
      sockets: sockets.length,
    });
    const source = this.#source;
    this.#startDeadline = new Deadline(startupTimeout, () =>
      this.#fail(startupTimeoutError(source, startupTimeout)),
    );
  }

  get pid(): number | undefined {
    return this.#process.child.pid;
  }

  send(message: Order | StartRequest): void {
    const { channel } = this.#process;
    if (channel?.writable) channel.write(encodeLine(message));
  }

  start(request: StartRequest, events: ForkedChildEvents): ForkedChildHandle {
    const { id, start } = request;
    const child = new ForkedChildHandle(start, events, {
      kill: (signal) => this.send({ do: "kill", id, signal }),
    });
    this.#children.set(id, child);
    this.send(request);
    if (!this.#settleReady) child.onForked();
    return child;
  }

  /** Ends the fork server; only called when no child is alive. */
  async close(): Promise<void> {
    if (this.#settleReady) {
      this.#fail(new ClosedError());
    }
    this.#process.channel?.end();
    const deadline = new Deadline(this.#closeTimeout, () => {
      warnOfClose(`an "exit" listener of the worker's module in the fork server (pid ${this.pid})`);
      this.#process.child.kill("SIGKILL");
    });
    await this.#process.gone.catch(() => {});
    deadline.clear();
  }

  #receive(message: FromForkServer): void {
    if ("hello" in message) {
      if (!this.#settleReady) throw new Breach(`wrote ${excerpt(message)} a second time`);
      if (message.hello === "ready") this.#begin(message.change);
      else if (message.hello === "unfit") this.#fail(new UnfitError(message.reason));
      else this.#fail(loadError(this.#source!.url, message.problem));
      return;
    }
    const child = this.#children.get(message.id);
    if (!child) return;
    if ("waiting" in message) return child.onWaiting();
    if ("started" in message) return child.onForked();
    if ("piped" in message) return child.onPiped();
    this.#children.delete(message.id);
    if ("unstarted" in message) child.onEnd(unstarted(message.unstarted));
    else if ("unpiped" in message) child.onEnd(unpiped(message.unpiped));
    else child.onEnd(endOf(message));
  }

  #begin(change: string | undefined): void {
    warnOfChange(change);
    this.#settle((ready) => ready.resolve());
    for (const child of this.#children.values()) child.onForked();
  }

  #settle(how: (ready: Settle) => void): void {
    this.#startDeadline?.clear();
    const ready = this.#settleReady;
    this.#settleReady = undefined;
    if (ready) how(ready);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#process.child.kill("SIGKILL");
    this.#settle((ready) => ready.reject(error));
  }

  /** Lets the children be spawned that this fork server was to fork; none has begun. */
  async #handOver(unfit: UnfitError): Promise<void> {
    let fatal: Error | undefined;
    try {
      await this.#onUnfit(unfit);
    } catch (error) {
      fatal = error as Error;
    }
    for (const [id, child] of this.#children) {
      this.#children.delete(id);
      child.onEnd(
        fatal
          ? { started: false, reason: fatal.message, fatal }
          : { started: true, isShared: true, reason: unfit.message },
      );
    }
  }

  #endAll(code: number | null, signal: string | null): void {
    const isStarting = this.#settleReady !== undefined;
    const when = isStarting ? " while it was starting" : "";
    const how = `ended ${signal ? `by ${signal}` : `with exit code ${code}`}${when}`;
    // None of the children has begun: the next fork server can fork all of them.
    const isLost = isStarting && this.#isAgain && signal !== null;
    if (isStarting) {
      const error = new LaunchError(`The fork server ${how}${startHint(code, signal)}`);
      if (isLost) this.#settle((ready) => ready.reject(error));
      else this.#fail(error);
    }
    // Its children have died with it, but not the processes that they had started.
    if (this.pid !== undefined) killSession(this.pid);
    for (const [id, child] of this.#children) {
      this.#children.delete(id);
      child.onEnd(
        this.#failure
          ? { started: false, reason: this.#failure.message, fatal: this.#failure }
          : {
              started: true,
              signal: signal ?? undefined,
              isShared: isLost,
              reason: `the fork server ${how}`,
            },
      );
    }
  }
}

function unstarted(errno: number): ChildEnd {
  const reason =
    errno === 0
      ? "it was ended while it waited for a process"
      : `${shortageOfErrno(errno)} (${errnoName(errno)}), and none of this Parallel was running whose end could help`;
  return { started: false, reason };
}

function shortageOfErrno(errno: number): string {
  return shortageInWords(errnoName(errno)) ?? "no process could be made for it";
}

function unpiped(errno: number): ChildEnd {
  const reason = `no FIFO could be made for its output in the scratch directory (${errnoName(errno)})`;
  return { started: false, reason };
}

function endOf({
  id: _,
  signal,
  usage: [user, system, peakMemory],
  ...report
}: ChildReport): ChildEnd {
  return {
    started: true,
    ...report,
    signal: signal === undefined ? undefined : signalName(signal),
    usage: { userCpu: user / 1000, systemCpu: system / 1000, peakMemory },
  };
}
