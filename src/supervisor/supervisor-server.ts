/**
 * The socket of a supervisor. Whoever connects shows the token with its first call, and is then a client, or a child that introduces itself. One that does
 * not is refused after a while, and costs a connection and a few KiB until then.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, lstatSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { makePrivate } from "./private-directory.js";
import { isAlive } from "../system/is-alive.js";
import { monotonic } from "../system/monotonic.js";
import { clearInterval, clearTimeout, setInterval, setTimeout } from "../system/timers.js";
import { SupervisorError } from "../errors.js";
import { Calls, type IncomingCall } from "../wire/calls.js";
import { warnOf } from "./monitor-warning.js";
import { listenAt, SOCKET_FILE } from "../wire/socket-path.js";
import { tokenPath } from "../wire/supervisor-directory.js";

/** A busy program may need a while from connecting to its first line. */
const PATIENCE_MS = 10_000;
/** So many may be about to show the token; for one more, the one that has waited longest has to go. */
const MAX_STRANGERS = 256;
/** Longer than a set that is replaced takes to end. */
const OVERLAP_MS = 15_000;
const LOOK_MS = 2000;
/** Of the line with the token. */
const FIRST_LINE_BYTES = 4096;

export interface ServerEvents {
  /** A call that came with the token, or after one that did. */
  onCall(call: IncomingCall, calls: Calls): Promise<unknown>;
  onClose(calls: Calls): void;
  /** Another supervisor has the directory now. */
  onTakenOver(): void;
  /** That one has ended, and this one has the directory again. */
  onReclaimed(): void;
}

export class SupervisorServer {
  readonly #directory: string;
  readonly #events: ServerEvents;
  readonly #token = randomBytes(32).toString("hex");
  #server = this.#makeServer();
  /** Undefined until it listens. */
  #look: NodeJS.Timeout | undefined;
  /** Since when another has the directory, on the monotonic clock. */
  #lostAt: number | undefined;
  #reclaiming: Promise<void> | undefined;
  #isClosed = false;
  readonly #connections = new Set<Calls>();
  readonly #strangers = new Set<Calls>();
  /** Of the socket that this server has made. */
  #inode = -1n;

  private constructor(directory: string, events: ServerEvents) {
    this.#directory = directory;
    this.#events = events;
  }

  /** @throws Error when the directory cannot be made, or others may enter it */
  static async open(directory: string, events: ServerEvents): Promise<SupervisorServer> {
    makePrivate(directory);
    const server = new SupervisorServer(directory, events);
    await server.#listen();
    server.#look = setInterval(() => {
      server.#reclaiming = server.#reclaim();
    }, LOOK_MS).unref();
    return server;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#look);
    for (const calls of this.#connections) calls.close();
    // It may be about to listen again.
    await this.#reclaiming;
    // Another supervisor may have taken its place meanwhile.
    if (this.isCurrent) {
      rmSync(this.#path, { force: true });
      rmSync(tokenPath(this.#directory), { force: true });
    }
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Whether the socket in the directory is that of this supervisor. */
  get isCurrent(): boolean {
    return inodeOf(this.#path) === this.#inode;
  }

  get #path(): string {
    return `${this.#directory}/${SOCKET_FILE}`;
  }

  #makeServer(): net.Server {
    return net.createServer((socket) => this.#accept(socket));
  }

  /** Another may have taken the directory: a restart has two sets for a while, and a second program should have one of its own. */
  async #reclaim(): Promise<void> {
    if (this.isCurrent || this.#isClosed) {
      this.#lostAt = undefined;
      return;
    }
    if (inodeOf(this.#path) !== -1n) {
      this.#events.onTakenOver();
      this.#lostAt ??= monotonic();
      if (monotonic() - this.#lostAt > OVERLAP_MS)
        warnOf(
          `Another supervisor has taken over ${this.#directory}, which is for one at a time: children and clients find that one`,
          "FORKMAP_SUPERVISOR",
        );
      return;
    }
    this.#server.close();
    this.#server = this.#makeServer();
    try {
      await this.#listen();
      this.#events.onReclaimed();
    } catch {
      // The directory is gone, or the disk is full.
    }
  }

  /** Takes the place of what a supervisor before has left, or of one that still runs, at once. */
  async #listen(): Promise<void> {
    const own = `${SOCKET_FILE}-${process.pid}`;
    rmSync(`${this.#directory}/${own}`, { force: true });
    await listenAt(this.#directory, own, this.#server);
    // A connection that could not be accepted, for want of descriptors, is the loss of who has made it.
    this.#server.on("error", () => {});
    chmodSync(`${this.#directory}/${own}`, 0o600);
    const draft = `${tokenPath(this.#directory)}-${process.pid}`;
    rmSync(draft, { force: true });
    writeFileSync(draft, this.#token, { mode: 0o600, flag: "wx" });
    // First the token: who reads it, and still meets the old socket, is refused and comes again.
    renameSync(draft, tokenPath(this.#directory));
    renameSync(`${this.#directory}/${own}`, this.#path);
    this.#inode = inodeOf(this.#path);
  }

  #accept(socket: net.Socket): void {
    const leave = () => {
      this.#strangers.delete(calls);
      clearTimeout(timer);
    };
    let isKnown = false;
    const calls = new Calls(socket, {
      side: "accepted",
      maxLine: FIRST_LINE_BYTES,
      onCall: async (call) => {
        if (!isKnown) {
          this.#check(call, calls);
          isKnown = true;
          leave();
          calls.trust();
        }
        return await this.#events.onCall(call, calls);
      },
      onClose: () => {
        leave();
        this.#connections.delete(calls);
        this.#events.onClose(calls);
      },
    });
    this.#connections.add(calls);
    this.#strangers.add(calls);
    if (this.#strangers.size > MAX_STRANGERS)
      this.#turnAway(this.#strangers.values().next().value!);
    const timer = setTimeout(
      () => calls.refuse(`Expected the token of this supervisor within ${PATIENCE_MS} ms`),
      PATIENCE_MS,
    ).unref();
  }

  #turnAway(stranger: Calls): void {
    this.#strangers.delete(stranger);
    stranger.refuse(`More than ${MAX_STRANGERS} connections have not shown the token`);
  }

  #check({ message }: IncomingCall, calls: Calls): void {
    if (isEqual(message["token"], this.#token)) return;
    const why = `Expected the first call to have the token that is in ${tokenPath(this.#directory)}`;
    calls.refuse(why, message["id"] as number);
    throw new SupervisorError(why, "refused");
  }
}

/** In a time that does not depend on where they differ. */
function isEqual(given: unknown, token: string): boolean {
  if (typeof given !== "string") return false;
  const bytes = Buffer.from(given);
  const own = Buffer.from(token);
  return bytes.length === own.length && timingSafeEqual(bytes, own);
}

function inodeOf(path: string): bigint {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino ?? -1n;
}

/** A file of metrics has the pid of its program in its name, and what a supervisor is about to put in place that of the supervisor. */
const OWNED = /^(?:(?:metrics|over)-(\d+)-[\w-]*|(?:socket|token|totals)-(\d+))$/;

/** Removes what programs and supervisors that have ended have left. */
export function sweep(directory: string): void {
  for (const name of readdirSync(directory)) {
    const [, program, supervisor] = OWNED.exec(name) ?? [];
    const pid = program ?? supervisor;
    if (pid === undefined || isAlive(Number(pid))) continue;
    rmSync(`${directory}/${name}`, { force: true });
  }
}
