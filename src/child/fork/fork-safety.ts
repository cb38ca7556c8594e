/**
 * Whether the children of a fork server get what spawned ones would. A fork copies memory, but shares everything else: each
 * descriptor with its state, helper processes, and what is under way in the thread pool or on a connection, whose end only the
 * fork server would see. What can be made right is: here, or in each child (inherited.ts). What cannot is told, so that
 * children are spawned. docs/what-a-fork-shares.md is this for users.
 */
import { watch } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { monotonic } from "../../system/monotonic.js";
import { CHANNEL_FD } from "../../wire/protocol.js";
import { childProcesses } from "./child-processes.js";
import { ClientSockets } from "./client-sockets.js";
import {
  type Descriptor,
  type Description,
  describe,
  isInheritable,
  openDescriptors,
} from "./descriptors.js";
import { Inherited } from "./inherited.js";
import type { Libc } from "../libc.js";

const CHECK_MS = 5;
/** A connection that has been ended is gone within 10 ms. */
const CLOSING_MS = 100;
/** For helper processes that keep the program alive: those that last should not hold it up, those that do a moment's work end. */
const HELPER_PATIENCE_MS = 1000;

type Since = "Node was started" | "its module was loaded" | "`preload`";

export interface ForkVerdict {
  /** Why children are to be spawned. */
  readonly obstacle?: string;
  /** What each child has to make its own, if anything. */
  readonly inherited?: Inherited;
}

export class ForkSafety {
  readonly #libc: Libc;
  readonly #sockets = new ClientSockets();
  /** Of Node itself, or of whoever started this process: spawned children have them too. */
  readonly #own = new Set<string>();
  readonly #openAtStart = new Set<string>();
  readonly #openAfterModule = new Set<string>();
  #hasPreload = false;
  #waitedMs = 0;

  /** Compares from now on: to be made before the worker's module is loaded. */
  constructor(libc: Libc) {
    this.#libc = libc;
    for (const descriptor of openDescriptors()) {
      const isOwn = isNodes(descriptor) || isInheritable(descriptor);
      (isOwn ? this.#own : this.#openAtStart).add(key(descriptor));
    }
  }

  /** The module has been loaded; `preload` comes next, if there is one. */
  async moduleLoaded(hasPreload: boolean): Promise<void> {
    // Some clients connect a moment after they have been made.
    if (hasPreload) await nextTurn();
    this.#hasPreload = hasPreload;
    if (hasPreload) this.#sockets.preloading();
    for (const descriptor of openDescriptors()) this.#openAfterModule.add(key(descriptor));
  }

  /**
   * Waits until nothing is under way, and closes the connections that are only kept. As long as there is patience left, of
   * which so many ms are for all times together; at least for some moments, as most of what is begun ends.
   */
  async settle(patienceMs: number): Promise<void> {
    const start = monotonic();
    const patience = Math.max(patienceMs - this.#waitedMs, CLOSING_MS);
    // A request that has just been made is not to be seen on its socket yet.
    await nextTurn();
    await this.#settleWithin(patience, start);
    this.#waitedMs += monotonic() - start;
  }

  async #settleWithin(patienceMs: number, start: number): Promise<void> {
    while (monotonic() - start < patienceMs) {
      const isClosing = this.#sockets.closeIdle();
      if (!isClosing && !this.#isPending(monotonic() - start)) return;
      // Mostly it is done in a turn of the loop or two.
      if (isClosing) await nextTurn();
      else await sleep(CHECK_MS);
    }
  }

  #isPending(waitedMs: number): boolean {
    if (this.#libc.pendingRequests() > 0 || this.#sockets.isAwaited) return true;
    return (
      waitedMs < HELPER_PATIENCE_MS && process.getActiveResourcesInfo().includes("ProcessWrap")
    );
  }

  /** Judges, and gives what is just being closed the time it takes. */
  async judgeSettled(isForkSafe: boolean): Promise<ForkVerdict> {
    let verdict = this.judge(isForkSafe);
    for (let ms = 0; verdict.obstacle !== undefined && ms < CLOSING_MS; ms += CHECK_MS) {
      await sleep(CHECK_MS);
      verdict = this.judge(isForkSafe);
    }
    return verdict;
  }

  /**
   * To be asked right before the first fork, in the same turn of the event loop.
   *
   * @param isForkSafe - the worker says that nothing of this matters to its children
   */
  judge(isForkSafe: boolean): ForkVerdict {
    const opened = withoutLibuvs(openDescriptors().filter((each) => !this.#own.has(key(each))));
    const found = opened.map((descriptor) => ({ descriptor, ...describe(descriptor) }));
    if (!isForkSafe) {
      const helpers = childProcesses();
      const obstacles = [
        ...this.#underWay(),
        ...helpers.map((name) => `a child process \`${name}\` is running; start it in \`setup\``),
        ...found
          // Those to a helper process are known by its name.
          .filter(({ kind }) => kind !== "connection" || helpers.length === 0)
          .flatMap((each) => this.#obstacleOf(each)),
      ];
      if (obstacles.length > 0) return { obstacle: summary(obstacles) };
    }
    const fdsOf = (kind: Description["kind"]) =>
      found.filter((each) => each.kind === kind).map(({ descriptor }) => descriptor.fd);
    const files = fdsOf("file");
    const connections = fdsOf("connection");
    if (files.length + connections.length === 0) return {};
    try {
      return { inherited: new Inherited(this.#libc, files, connections) };
    } catch (error) {
      return {
        obstacle: `a file that is open cannot be opened again: ${(error as Error).message}`,
      };
    }
  }

  #underWay(): string[] {
    const count = this.#libc.pendingRequests();
    if (count === 0) return [];
    const kinds = new Set(process.getActiveResourcesInfo().flatMap((type) => REQUESTS[type] ?? []));
    const what =
      kinds.size > 0 ? [...kinds].join(", ") : "work in the thread pool, such as crypto or zlib";
    return [
      `something is under way that no child would see the end of (${what}); await it in \`preload\``,
    ];
  }

  #obstacleOf({ descriptor, kind, what }: Description & { descriptor: Descriptor }): string[] {
    if (kind === "file" || kind === "stateless") return [];
    const connect = this.#sockets.connectOf(descriptor.fd);
    const name = connect?.path === undefined ? what : `a connection to ${connect.path} is open`;
    return [`${name}, since ${this.#since(descriptor, connect?.inPreload)}; open it in \`setup\``];
  }

  /** @param inPreload - whether it was connected there: it may have been opened some time after that */
  #since(descriptor: Descriptor, inPreload: boolean | undefined): Since {
    if (this.#openAtStart.has(key(descriptor))) return "Node was started";
    const isModules = !(inPreload ?? !this.#openAfterModule.has(key(descriptor)));
    return isModules || !this.#hasPreload ? "its module was loaded" : "`preload`";
  }

  /** Watches no more: what children do is their own. */
  stop(): void {
    this.#sockets.stop();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The one inotify instance of `fs.watch` is made anew in each child by libuv, with all it watches. */
function withoutLibuvs(descriptors: readonly Descriptor[]): readonly Descriptor[] {
  const instances = countInotify(descriptors);
  if (instances !== 1) return descriptors;
  // Makes one, unless libuv has it already.
  watch("/", { persistent: false }).close();
  const hasItAlready = countInotify(openDescriptors()) === instances;
  return hasItAlready ? descriptors.filter(({ target }) => !INOTIFY.test(target)) : descriptors;
}

function countInotify(descriptors: readonly Descriptor[]): number {
  return descriptors.filter(({ target }) => INOTIFY.test(target)).length;
}

const INOTIFY = /^anon_inode:\[?inotify/;

/** Those of Node's event loops have other inodes each time that `rehearse` has made them anew, in the same places. */
function key({ fd, target }: Descriptor): string {
  return `${fd} ${target.startsWith("pipe:") ? "pipe" : target}`;
}

function isNodes({ fd, target }: Descriptor): boolean {
  return fd === CHANNEL_FD || /^(pipe|anon_inode):/.test(target);
}

/** Names of Node's types of requests, as far as a fork server may have any. */
const REQUESTS: Readonly<Record<string, string>> = {
  FSReqCallback: "a file operation",
  FSReqPromise: "a file operation",
  GetAddrInfoReqWrap: "a look-up of a host name",
  GetNameInfoReqWrap: "a look-up of a host name",
  PipeConnectWrap: "a connection that is being made",
  SendWrap: "a datagram that is being sent",
  TCPConnectWrap: "a connection that is being made",
  WriteWrap: "a write to a connection",
};

function summary(obstacles: readonly string[]): string {
  const [first, ...rest] = obstacles;
  return rest.length === 0 ? first! : `${first} (and ${rest.length} more)`;
}
