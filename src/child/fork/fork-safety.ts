/**
 * Decides whether forked children would behave like spawned ones. A fork copies memory but shares everything else: file
 * descriptors with their state and helper processes; only the fork server would see pending work of the thread pool or
 * of a connection complete. Some of this is repaired, here or in each child (inherited.ts). Anything else is reported
 * as the reason to spawn children instead. docs/what-a-fork-shares.md describes this for users.
 */
import { watch } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { monotonic } from "../../system/monotonic.js";
import { CHANNEL_FD } from "../../wire/protocol.js";
import type { Libc } from "../libc.js";
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

const CHECK_MS = 5;
/** A connection that is being closed disappears within 10 ms. */
const CLOSING_MS = 100;
/** For helper processes that keep the program alive: short-lived ones end, the others must not delay the start. */
const HELPER_PATIENCE_MS = 1000;

type Since = "Node was started" | "the worker's module was loaded" | "`preload`";

export interface ForkVerdict {
  /** Why children must be spawned. */
  readonly obstacle?: string;
  /** The files and connections that each child must replace, if any. */
  readonly inherited?: Inherited;
}

export class ForkSafety {
  readonly #libc: Libc;
  readonly #sockets = new ClientSockets();
  /** Descriptors of Node itself or inherited from the parent process: spawned children have them too. */
  readonly #own = new Set<string>();
  readonly #openAtStart = new Set<string>();
  readonly #openAfterModule = new Set<string>();
  #hasPreload = false;
  #waitedMs = 0;

  /**
   * Records what is open. Create it before the worker's module is loaded.
   *
   * @param sockets - how many listening sockets follow the channel, the one kind of connection that forks may share
   */
  constructor(libc: Libc, sockets: number) {
    this.#libc = libc;
    for (const descriptor of openDescriptors()) {
      const isListening = descriptor.fd > CHANNEL_FD && descriptor.fd <= CHANNEL_FD + sockets;
      const isOwn = isListening || isNodes(descriptor) || isInheritable(descriptor);
      (isOwn ? this.#own : this.#openAtStart).add(key(descriptor));
    }
  }

  /** Called when the module has been loaded, before `preload`. */
  async moduleLoaded(hasPreload: boolean): Promise<void> {
    // Some clients connect a moment after they are created.
    if (hasPreload) await nextTurn();
    this.#hasPreload = hasPreload;
    if (hasPreload) this.#sockets.preloading();
    for (const descriptor of openDescriptors()) this.#openAfterModule.add(key(descriptor));
  }

  /**
   * Waits until no work is pending and closes idle keep-alive connections. All calls share `patienceMs`, but each may
   * wait for at least CLOSING_MS, because most pending work ends soon.
   */
  async settle(patienceMs: number): Promise<void> {
    const start = monotonic();
    const patience = Math.max(patienceMs - this.#waitedMs, CLOSING_MS);
    // A request that was just sent is not visible on its socket yet.
    await nextTurn();
    await this.#settleWithin(patience, start);
    this.#waitedMs += monotonic() - start;
  }

  async #settleWithin(patienceMs: number, start: number): Promise<void> {
    while (monotonic() - start < patienceMs) {
      const isClosing = this.#sockets.closeIdle();
      if (!isClosing && !this.#isPending(monotonic() - start)) return;
      // Closing usually takes one or two turns of the event loop.
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

  /** Returns the verdict; judges an obstacle again for up to CLOSING_MS, as a descriptor may be about to close. */
  async judgeSettled(isForkSafe: boolean): Promise<ForkVerdict> {
    let verdict = this.judge(isForkSafe);
    for (let ms = 0; verdict.obstacle !== undefined && ms < CLOSING_MS; ms += CHECK_MS) {
      await sleep(CHECK_MS);
      verdict = this.judge(isForkSafe);
    }
    return verdict;
  }

  /**
   * Returns the verdict. Must be called right before the first fork, in the same turn of the event loop.
   *
   * @param isForkSafe - the worker declares (`forkSafe`) that its children may be forked despite open or pending things
   */
  judge(isForkSafe: boolean): ForkVerdict {
    const opened = withoutLibuvs(openDescriptors().filter((each) => !this.#own.has(key(each))));
    const found = opened.map((descriptor) => ({ descriptor, ...describe(descriptor) }));
    if (!isForkSafe) {
      const helpers = childProcesses();
      const obstacles = [
        ...this.#underWay(),
        ...helpers.map(
          (name) => `a child process \`${name}\` is running and ${SHARED}; start it in \`setup\``,
        ),
        ...found
          // Connections to a helper process are covered by the obstacle that names the process.
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
        obstacle: `an open file cannot be opened again in each child: ${(error as Error).message}`,
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
      `asynchronous work is pending (${what}) and forked children would never see it finish; await it in \`preload\``,
    ];
  }

  #obstacleOf({ descriptor, kind, what }: Description & { descriptor: Descriptor }): string[] {
    if (kind === "file" || kind === "stateless") return [];
    const connect = this.#sockets.connectOf(descriptor.fd);
    const name = connect?.path === undefined ? what : `a connection to ${connect.path} is open`;
    const since = this.#since(descriptor, connect?.inPreload);
    return [`${name} (since ${since}) and ${SHARED}; open it in \`setup\``];
  }

  /** @param inPreload - whether `connect` was called in `preload`; the descriptor may have been opened later */
  #since(descriptor: Descriptor, inPreload: boolean | undefined): Since {
    if (this.#openAtStart.has(key(descriptor))) return "Node was started";
    const isModules = !(inPreload ?? !this.#openAfterModule.has(key(descriptor)));
    return isModules || !this.#hasPreload ? "the worker's module was loaded" : "`preload`";
  }

  /** Stops watching connections: those of children do not matter. */
  stop(): void {
    this.#sockets.stop();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Without libuv's inotify instance (`fs.watch`): libuv creates a new one with the same watches in each child. */
function withoutLibuvs(descriptors: readonly Descriptor[]): readonly Descriptor[] {
  const instances = countInotify(descriptors);
  if (instances !== 1) return descriptors;
  // Creates libuv's instance if it does not exist yet.
  watch("/", { persistent: false }).close();
  const hasItAlready = countInotify(openDescriptors()) === instances;
  return hasItAlready ? descriptors.filter(({ target }) => !INOTIFY.test(target)) : descriptors;
}

function countInotify(descriptors: readonly Descriptor[]): number {
  return descriptors.filter(({ target }) => INOTIFY.test(target)).length;
}

const INOTIFY = /^anon_inode:\[?inotify/;

/** Identifies a descriptor. */
function key({ fd, target }: Descriptor): string {
  return `${fd} ${target}`;
}

function isNodes({ fd, target }: Descriptor): boolean {
  return fd === CHANNEL_FD || /^(pipe|anon_inode):/.test(target);
}

/** Plain names for the types of Node requests that a fork server may have pending. */
const REQUESTS: Readonly<Record<string, string>> = {
  FSReqCallback: "a file operation",
  FSReqPromise: "a file operation",
  GetAddrInfoReqWrap: "a host name lookup",
  GetNameInfoReqWrap: "a host name lookup",
  PipeConnectWrap: "a connection attempt",
  SendWrap: "a datagram being sent",
  TCPConnectWrap: "a connection attempt",
  WriteWrap: "a write to a connection",
};

const SHARED = "forked children would share it";

function summary(obstacles: readonly string[]): string {
  const [first, ...rest] = obstacles;
  return rest.length === 0 ? first! : `${first} (and ${rest.length} more)`;
}
