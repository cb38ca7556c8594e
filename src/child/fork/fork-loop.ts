/**
 * What the fork server does once it is warm: forks a child per request, reaps it, reports it.
 *
 *   parent ──requests──▶ poll ──fork──▶ child ──what became of its items──▶ ledger
 *      ▲                  ▲ │             │
 *      └──────reports─────┴─┴── reap (wait4: CPU, memory)
 *
 * It never goes back to its event loop: it sleeps in poll(2), so no callback of the worker's module can run between
 * two forks. It is the only process that outlives a killed parent, and so the one that cleans up after it.
 */
import { readFileSync, rmSync } from "node:fs";
import { getHeapStatistics } from "node:v8";
import { outputFile } from "../../wire/child-files.js";
import {
  CHANNEL_FD,
  type ChildReport,
  MAX_CONCURRENCY,
  type Order,
  type StartRequest,
} from "../../wire/protocol.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import { readLines, send } from "../items/channel.js";
import { ForkedChild } from "./forked-child.js";
import type { Inherited } from "./inherited.js";
import type { LedgerMemory } from "../items/ledger-writer.js";
import { type Libc, RUSAGE_BYTES, SIGKILL } from "../libc.js";
import { SpareDescriptors } from "./spare-descriptors.js";
import { Ledgers } from "../items/ledgers.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { parse } from "../../system/json.js";

interface Running {
  readonly pid: number;
  /** Readable once the process has ended. Signals would not do: another thread could take the SIGCHLD. */
  readonly pidfd: number;
  readonly request: StartRequest;
  readonly tries: number;
}

const POLLIN = 1;
/** struct pollfd as two words: the descriptor, then events in the lower half and what has happened in the upper. */
const POLLFD_WORDS = 2;
/** ru_maxrss of struct rusage, in KiB: its lower word, good for 4 TiB. */
const MAX_RSS_WORD = 8;
const SIGSEGV = 11;
const ENOMEM = 12;
const EEXIST = 17;
const EMFILE = 24;
/**
 * A child that dies by SIGSEGV before it has begun has run none of the user's code, so forking again is safe. Not one with
 * a channel: its parent may have sent it items, and starts another by itself.
 */
const MAX_TRIES = 3;

/** V8 ends by SIGILL, SIGTRAP or SIGABRT when it gets no memory, others by SIGBUS or SIGSEGV. */
const CRASH_SIGNALS = new Set([4, 5, 6, 7, 11]);
const HEAP_LIMIT_BYTES = getHeapStatistics().heap_size_limit;
/** V8 gives up close to its limit, and what it had reserved need not all have been resident. */
const NEAR_LIMIT = 0.6;

export class ForkLoop {
  readonly #libc: Libc;
  readonly #ledgers: Ledgers;
  readonly #child: ForkedChild;
  readonly #running: Running[] = [];
  readonly #queue: { readonly request: StartRequest; readonly tries: number }[] = [];
  /** Ids in the queue that the parent has been told wait. */
  readonly #waiting = new Set<string>();
  readonly #directories = new Set<string>();
  readonly #records = new Int32Array(POLLFD_WORDS * (MAX_CONCURRENCY + 1));
  readonly #status = new Int32Array(1);
  readonly #usage = new Uint32Array(RUSAGE_BYTES / 4);
  readonly #spare: SpareDescriptors;
  readonly #onFork: () => void;
  readonly #onEnd: () => void;
  #oomKills = countOomKills();

  constructor(
    libc: Libc,
    worker: LoadedWorker,
    source: WorkerSource,
    inherited: Inherited | undefined,
    onFork: () => void,
    onEnd: () => void,
  ) {
    this.#libc = libc;
    this.#onFork = onFork;
    this.#onEnd = onEnd;
    this.#ledgers = new Ledgers(libc);
    this.#spare = new SpareDescriptors(libc);
    this.#child = new ForkedChild(libc, worker, source, inherited);
  }

  /** Serves until the parent is gone; then `onEnd` is called. Returns in a child too, whose event loop then goes on. */
  serve(lines: readonly string[]): void {
    this.#follow(lines);
    for (;;) {
      if (this.#forkAll()) return;
      this.#libc.poll(this.#pollRecords(), this.#running.length + 1);
      // From the end, because reaping takes an entry out.
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

  /** Forks for every queued request, as far as the system lets it. `true` in a child. */
  #forkAll(): boolean {
    while (this.#queue.length > 0) {
      const { request, tries } = this.#queue[0]!;
      if (request.start.mark !== undefined && !request.isPiped && !this.#pipe(request)) continue;
      const isRoom = this.#running.length < MAX_CONCURRENCY;
      // All the child will need is at hand before the fork: code that only ever runs in children is never warm, and
      // looking up a private field there for the first time costs each of them some 40 page faults.
      const child = this.#child;
      let memory: LedgerMemory | undefined;
      try {
        if (isRoom) memory = this.#ledgers.memory(request.start);
      } catch (error) {
        // No descriptor or no memory for it: as when there is no process.
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
      // Its descriptor takes the place of one that was spare, if there is no other.
      let pidfd = this.#libc.openPidfd(pid);
      if (pidfd === -1) {
        this.#spare.empty();
        pidfd = this.#libc.openPidfd(pid);
      }
      const running = { pid, pidfd, request, tries };
      if (pidfd === -1) {
        // Of memory in the kernel, if anything. Told as what it is, a killed child.
        this.#libc.kill(pid, SIGKILL);
        this.#bury(running);
      } else {
        this.#running.push(running);
      }
      this.#onFork();
    }
    return false;
  }

  /** Makes what the child prints through, if it can. One of the two may be left from the child before. */
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

  /** No process could be made (EAGAIN, ENOMEM, a pids limit): waits for one to end, unless none is there. */
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
      // The group, with all the child has started; it may not have made its group yet.
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

  /** Takes leave of a child that has ended or is about to, and reports it. */
  #bury({ pid, pidfd, request, tries }: Running): void {
    // While the child is a zombie its number cannot be another group's.
    this.#libc.kill(-pid, SIGKILL);
    this.#libc.wait(pid, this.#status, this.#usage);
    this.#libc.close(pidfd);

    const status = this.#status[0]!;
    const signal = status & 0x7f;
    const mayTryAgain = signal === SIGSEGV && tries < MAX_TRIES && request.start.payload;
    if (mayTryAgain && !this.#ledgers.hasBegun(request.start)) {
      this.#queue.push({ request, tries: tries + 1 });
      return;
    }
    const peakMemory = this.#usage[MAX_RSS_WORD]! * 1024;
    const report: ChildReport = {
      id: request.id,
      pid,
      ...(signal === 0 ? { exitCode: (status >> 8) & 0xff } : { signal }),
      usage: [this.#microseconds(0), this.#microseconds(4), peakMemory],
      ...(this.#ranOutOfMemory(signal, peakMemory, request) ? { outOfMemory: true } : {}),
    };
    send(report);
  }

  /** A struct timeval of struct rusage: two longs, each of whose lower word is enough. */
  #microseconds(word: number): number {
    return this.#usage[word]! * 1e6 + this.#usage[word + 2]!;
  }

  #ranOutOfMemory(signal: number, peakMemory: number, { start }: StartRequest): boolean {
    if (signal === SIGKILL) {
      const before = this.#oomKills;
      this.#oomKills = countOomKills();
      return this.#oomKills > before;
    }
    const limit = Math.min(HEAP_LIMIT_BYTES, start.limits?.memory ?? Infinity);
    return CRASH_SIGNALS.has(signal) && peakMemory > limit * NEAR_LIMIT;
  }

  /** The parent is gone, or wants no more. */
  #end(): void {
    for (const { pid } of this.#running) {
      if (this.#libc.kill(-pid, SIGKILL) === -1) this.#libc.kill(pid, SIGKILL);
    }
    // Only once all are dead: a child might write into a directory while it is being removed.
    for (const { pid } of this.#running) {
      this.#libc.wait(pid, this.#status, this.#usage);
      this.#libc.kill(-pid, SIGKILL);
    }
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
    this.#onEnd();
  }
}

/** Node has it negative. */
function errnoOf(error: unknown): number {
  const { errno } = error as NodeJS.ErrnoException;
  return errno === undefined ? ENOMEM : Math.abs(errno);
}

/** How often the kernel's out-of-memory killer has struck since boot; 0 where /proc does not say. */
function countOomKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "latin1"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
