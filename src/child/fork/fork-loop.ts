/**
 * What the fork server does once it is warm: forks a child for each request, reaps it, and reports its end.
 *
 *   parent ──requests──▶ poll ──fork──▶ child ──outcomes of its items──▶ ledger
 *      ▲                  ▲ │             │
 *      └──────reports─────┴─┴── reap (wait4: CPU, memory)
 *
 * The fork server never returns to its event loop: it sleeps in poll(2), so no callback of the worker's module can run
 * between two forks. It is the only process that outlives a killed parent, so it cleans up after the parent.
 */
import { rmSync } from "node:fs";
import { parse } from "../../system/json.js";
import { ledgerFile, outputFile } from "../../wire/child-files.js";
import { CHANNEL_FD, MAX_CONCURRENCY, type Order, type StartRequest } from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { readLines, send } from "../items/channel.js";
import type { LedgerMemory } from "../items/ledger-writer.js";
import { Ledgers } from "../items/ledgers.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { type Libc, SIGKILL } from "../libc.js";
import { ChildReaper } from "./child-reaper.js";
import { ForkedChild, type ChildModules } from "./forked-child.js";
import type { Inherited } from "./inherited.js";
import type { LaterSteps } from "./later-steps.js";
import { SpareDescriptors } from "./spare-descriptors.js";

interface Running {
  readonly pid: number;
  /** Becomes readable when the process ends. Signals would not do: another thread could take the SIGCHLD. */
  readonly pidfd: number;
  readonly request: StartRequest;
  readonly tries: number;
}

const POLLIN = 1;
/** struct pollfd as two words: the descriptor, then requested events (lower half) and returned events (upper half). */
const POLLFD_WORDS = 2;
/** Without a request or an end of a child for so long, the fork server is idle. */
const IDLE_MS = 50;
const SIGSEGV = 11;
const ENOMEM = 12;
const EEXIST = 17;
const EMFILE = 24;
/**
 * A child that dies by SIGSEGV before it has begun an item has run none of the user's code, so forking again is safe. A
 * child with a channel is not forked again here: the parent may have sent it items, and starts another child itself.
 */
const MAX_TRIES = 3;

export class ForkLoop {
  readonly #libc: Libc;
  readonly #ledgers: Ledgers;
  readonly #child: ForkedChild;
  readonly #running: Running[] = [];
  readonly #queue: { readonly request: StartRequest; readonly tries: number }[] = [];
  /** Ids of queued requests that were reported to the parent as waiting. */
  readonly #waiting = new Set<string>();
  readonly #directories = new Set<string>();
  readonly #records = new Int32Array(POLLFD_WORDS * (MAX_CONCURRENCY + 1));
  readonly #reaper: ChildReaper;
  readonly #spare: SpareDescriptors;
  readonly #later: LaterSteps;
  readonly #onEnd: () => void;

  constructor(
    libc: Libc,
    worker: LoadedWorker,
    source: WorkerSource,
    inherited: Inherited | undefined,
    later: LaterSteps,
    modules: ChildModules,
    onEnd: () => void,
  ) {
    this.#libc = libc;
    this.#later = later;
    this.#onEnd = onEnd;
    this.#ledgers = new Ledgers(libc);
    this.#spare = new SpareDescriptors(libc);
    this.#reaper = new ChildReaper(libc);
    this.#child = new ForkedChild(libc, worker, source, inherited, modules);
  }

  /** Serves until the parent is gone, then calls `onEnd`. Also returns in each child, to the child's event loop. */
  serve(lines: readonly string[]): void {
    this.#follow(lines);
    for (;;) {
      if (this.#forkAll()) return;
      const patience = this.#later.arePending ? IDLE_MS : -1;
      if (this.#libc.poll(this.#pollRecords(), this.#running.length + 1, patience) === 0) {
        this.#later.onIdle();
        continue;
      }
      // From the end, because reaping removes an entry.
      for (let i = this.#running.length; i > 0; i -= 1) {
        if (this.#hasNews(i)) this.#reap(i - 1);
      }
      if (!this.#hasNews(0)) continue;
      const more = readLines();
      if (!more) return this.#end();
      this.#follow(more);
    }
  }

  #pollRecords(): Int32Array {
    this.#writeRecord(0, CHANNEL_FD);
    for (let i = 0; i < this.#running.length; i += 1)
      this.#writeRecord(i + 1, this.#running[i]!.pidfd);
    return this.#records;
  }

  #writeRecord(position: number, fd: number): void {
    this.#records[position * POLLFD_WORDS] = fd;
    this.#records[position * POLLFD_WORDS + 1] = POLLIN;
  }

  #hasNews(position: number): boolean {
    return this.#records[position * POLLFD_WORDS + 1]! >>> 16 !== 0;
  }

  #follow(lines: readonly string[]): void {
    for (const line of lines) {
      const message = parse(line) as Order | StartRequest;
      if (!("do" in message)) this.#queue.push({ request: message, tries: 1 });
      else if (message.do === "kill") this.#kill(message.id, message.signal);
      else if (message.do === "scratch") this.#directories.add(message.directory);
      else if (message.do === "forget") this.#forget(message.directory);
    }
  }

  #forget(directory: string): void {
    this.#directories.delete(directory);
    this.#ledgers.close(directory);
  }

  /** Forks for every queued request, as far as the system allows. Returns `true` in a child. */
  #forkAll(): boolean {
    while (this.#queue.length > 0) {
      const { request, tries } = this.#queue[0]!;
      if (request.start.mark !== undefined && !request.isPiped && !this.#pipe(request)) continue;
      const isRoom = this.#running.length < MAX_CONCURRENCY;
      // Everything the child needs is looked up before the fork: code that only runs in children is never warm, and the
      // first access to a private field there costs each child some 40 page faults.
      const child = this.#child;
      let memory: LedgerMemory | undefined;
      try {
        if (isRoom) memory = this.#ledgers.memory(request.start);
      } catch (error) {
        // No file descriptor or no memory is left: handled like a process that could not be made.
        if (this.#postpone(errnoOf(error))) continue;
        return false;
      }
      if (isRoom && !this.#spare.fill()) {
        // A child that cannot be watched must not run.
        if (this.#postpone(EMFILE)) continue;
        return false;
      }
      const siblings = [...this.#spare.fds, ...this.#running.map((each) => each.pidfd)];
      const pid = isRoom ? this.#libc.fork() : -1;
      if (pid === 0) {
        child.begin(request, memory, siblings);
        return true;
      }
      if (pid === -1) {
        if (this.#postpone(this.#libc.errno())) continue;
        return false;
      }
      this.#queue.shift();
      if (this.#waiting.delete(request.id)) send({ id: request.id, started: true });
      // If no other file descriptor is left, the pidfd takes the place of a spare one.
      let pidfd = this.#libc.openPidfd(pid);
      if (pidfd === -1) {
        this.#spare.empty();
        pidfd = this.#libc.openPidfd(pid);
      }
      const running = { pid, pidfd, request, tries };
      if (pidfd === -1) {
        // Only for lack of kernel memory. The child is killed and reported as killed.
        this.#libc.kill(pid, SIGKILL);
        this.#bury(running);
      } else {
        this.#running.push(running);
      }
      this.#later.onFork(this.#queue.length > 0);
    }
    return false;
  }

  /** Makes the FIFOs that the child prints to, if possible. One of the two may be left from the child before. */
  #pipe({ id, start }: StartRequest): boolean {
    for (const name of ["stdout", "stderr"] as const) {
      if (this.#libc.mkfifo(outputFile(start, name), 0o600) === 0) continue;
      const errno = this.#libc.errno();
      if (errno !== EEXIST) {
        this.#queue.shift();
        this.#waiting.delete(id);
        send({ id, unpiped: errno });
        return false;
      }
    }
    send({ id, piped: true });
    return true;
  }

  /** No process could be made (EAGAIN, ENOMEM, a pids limit): waits for a child to end, if one runs. */
  #postpone(errno: number): boolean {
    if (this.#running.length > 0) {
      for (const { request } of this.#queue) {
        if (!this.#waiting.has(request.id)) send({ id: request.id, waiting: errno });
        this.#waiting.add(request.id);
      }
      return false;
    }
    const { id } = this.#queue.shift()!.request;
    this.#waiting.delete(id);
    send({ id, unstarted: errno });
    return true;
  }

  #kill(id: string, signal: number): void {
    const child = this.#running.find((each) => each.request.id === id);
    if (child) {
      // The process group, with all that the child has started; the child may not have made its group yet.
      if (this.#libc.kill(-child.pid, signal) === -1) this.#libc.kill(child.pid, signal);
      return;
    }
    const queued = this.#queue.findIndex((each) => each.request.id === id);
    if (queued === -1) return;
    this.#queue.splice(queued, 1);
    this.#waiting.delete(id);
    send({ id, unstarted: 0 });
  }

  #reap(position: number): void {
    const child = this.#running[position]!;
    this.#running[position] = this.#running.at(-1)!;
    this.#running.pop();
    this.#bury(child);
  }

  /** Reaps a child that has ended or is about to, and reports it. */
  #bury({ pid, pidfd, request, tries }: Running): void {
    this.#reaper.reap(pid);
    this.#libc.close(pidfd);
    const isCrash = this.#reaper.signal === SIGSEGV;
    const mayTryAgain = isCrash && tries < MAX_TRIES && request.start.payload !== undefined;
    if (mayTryAgain && !this.#ledgers.hasBegun(request.start)) {
      this.#queue.push({ request, tries: tries + 1 });
      return;
    }
    send(this.#reaper.report(pid, request));
  }

  /** The parent is gone, or has closed the channel. */
  #end(): void {
    for (const { pid } of this.#running) {
      if (this.#libc.kill(-pid, SIGKILL) === -1) this.#libc.kill(pid, SIGKILL);
    }
    // Directories are removed only when all children are dead: a living one might still write into them.
    for (const { pid } of this.#running) {
      this.#reaper.reap(pid);
      this.#libc.kill(-pid, SIGKILL);
    }
    for (const directory of this.#directories) {
      rmSync(directory, { recursive: true, force: true });
      rmSync(ledgerFile({ directory }), { force: true });
    }
    this.#onEnd();
  }
}

/** Node's errno is negative. */
function errnoOf(error: unknown): number {
  const { errno } = error as NodeJS.ErrnoException;
  return errno === undefined ? ENOMEM : Math.abs(errno);
}
