/**
 * Balances connections between instances that accept from one socket. The kernel wakes all of them for a connection, and who comes first gets it:
 * one of four instances could get 57 of 64 connections. So each instance notes in shared memory how many connections it has, and one that has
 * clearly more than the others steps back: it stops accepting until the others have caught up, but never for long, as they may be
 * frozen or busy.
 *
 *   accepting ──has more than its share──▶ aside ──others have caught up, or STEP_ASIDE_MS──▶ accepting
 *
 * The alternative, a socket of its own for each num (SO_REUSEPORT), needs none of this; but there the kernel goes on to give connections to an
 * instance that is frozen or away, and these wait for it. docs/container.md has the measurements.
 */
import type { Server } from "node:net";
import { monotonic } from "../../system/monotonic.js";
import { clearTimeout, setTimeout } from "../../system/timers.js";

/** In the memory: the instance does not accept, and does not count. */
export const AWAY = -1;

/** An instance steps aside with more connections than SLACK plus RATIO times the mean of the others. */
const RATIO = 1.25;
const SLACK = 1;
/** How soon an instance that is aside looks at the others, at first. */
const FIRST_LOOK_MS = 1;
/** What a connection may wait for if no other instance takes it. */
const STEP_ASIDE_MS = 20;
/** Others who have left a connection waiting for so long do not count for a while. */
const ALONE_MS = 1000;
/** Node's default. */
const BACKLOG = 511;

/** What `net.Server` has below: the handle of libuv, as Node itself makes it for a descriptor. */
interface Handle {
  readonly constructor: new (type: number) => Handle;
  onconnection: unknown;
  open(fd: number): number;
  /** Returns 0, or an error of libuv. */
  listen(backlog: number): number;
  hasRef(): boolean;
  unref(): void;
  close(): void;
}
/** The type SERVER of both TCP and pipes. */
const SERVER = 1;

export class AcceptBalance {
  readonly #cells: Int32Array;
  readonly #num: number;
  #count = 0;
  #isAway = false;
  /** Until then nobody else counts. */
  #aloneUntil = 0;
  readonly #servers = new Set<BalancedServer>();

  /** @param cells - how many connections each num has, in memory that all instances share */
  constructor(cells: Int32Array, num: number) {
    this.#cells = cells;
    this.#num = num;
    cells[num] = 0;
  }

  /**
   * Follows a server that listens.
   *
   * @param duplicate - returns another descriptor of its socket
   * @returns what is to be called before the server stops to listen
   */
  follow(server: Server, duplicate: () => number): () => void {
    const balanced = new BalancedServer(server, duplicate);
    if (!balanced.isKnown) return () => {};
    this.#servers.add(balanced);
    let cameBackAt = 0;
    server.on("connection", (socket) => {
      this.#add(1);
      socket.once("close", () => this.#add(-1));
      const now = monotonic();
      // It has come back because nobody else has taken this connection.
      if (now - cameBackAt < FIRST_LOOK_MS) this.#aloneUntil = now + ALONE_MS;
      if (now < this.#aloneUntil || !this.#isAhead()) return;
      balanced.stepAside(
        () => this.#isAhead(),
        () => (cameBackAt = monotonic()),
      );
    });
    return () => {
      this.#servers.delete(balanced);
      balanced.end();
      if (this.#servers.size > 0) return;
      this.#isAway = true;
      this.#cells[this.#num] = AWAY;
    };
  }

  #add(change: number): void {
    this.#count += change;
    if (!this.#isAway) this.#cells[this.#num] = this.#count;
  }

  #isAhead(): boolean {
    if (this.#count <= SLACK) return false;
    let others = 0;
    let sum = 0;
    // By index: an iterator takes ten times as long, for each connection.
    for (let num = 0; num < this.#cells.length; num += 1) {
      const count = this.#cells[num]!;
      if (count === AWAY || num === this.#num) continue;
      others += 1;
      sum += count;
    }
    return others > 0 && this.#count > SLACK + (RATIO * sum) / others;
  }
}

/** A server that can stop to accept for a while, without knowing: below it, its handle is exchanged. */
class BalancedServer {
  readonly #server: { _handle?: Handle | null };
  readonly #duplicate: () => number;
  readonly #owner: symbol | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isAside = false;

  constructor(server: Server, duplicate: () => number) {
    this.#server = server as object;
    this.#duplicate = duplicate;
    const { _handle: handle } = this.#server;
    this.#owner = Object.getOwnPropertySymbols(handle ?? {}).find(
      ({ description }) => description === "owner_symbol",
    );
  }

  /** Whether Node's servers are built as they are in Node 20 to 26. */
  get isKnown(): boolean {
    return this.#owner !== undefined && typeof this.#server._handle?.onconnection === "function";
  }

  /**
   * Stops to accept until `isStillAhead` says no, or for STEP_ASIDE_MS.
   *
   * @param onPatienceEnd - called if it was the latter
   */
  stepAside(isStillAhead: () => boolean, onPatienceEnd: () => void): void {
    if (this.#isAside || !this.#exchange()) return;
    this.#isAside = true;
    let waited = 0;
    const wait = (ms: number) => {
      this.#timer = setTimeout(() => {
        waited += ms;
        const isPatient = waited < STEP_ASIDE_MS;
        if (isPatient && isStillAhead()) return wait(Math.min(2 * ms, STEP_ASIDE_MS - waited));
        this.#comeBack();
        if (!isPatient) onPatienceEnd();
      }, ms);
    };
    wait(FIRST_LOOK_MS);
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #comeBack(): void {
    const failed = this.#server._handle?.listen(BACKLOG) ?? 0;
    this.#isAside = failed !== 0;
    if (failed !== 0) this.#timer = setTimeout(() => this.#comeBack(), STEP_ASIDE_MS);
  }

  /** Gives the server another handle of the same socket, which does not accept yet. */
  #exchange(): boolean {
    const { _handle: old } = this.#server;
    if (!old || this.#owner === undefined) return false;
    let fd: number;
    try {
      fd = this.#duplicate();
    } catch {
      // No descriptor is free: it goes on to accept.
      return false;
    }
    const next = new old.constructor(SERVER);
    next.open(fd);
    next.onconnection = old.onconnection;
    Reflect.set(next, this.#owner, this.#server);
    if (!old.hasRef()) next.unref();
    this.#server._handle = next;
    old.close();
    return true;
  }
}
