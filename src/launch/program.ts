/**
 * A child that is a program in any language, seen from the parent: it is written one request for each item and answers each
 * with a line, as docs/protocol.md says. Keeps the ledger for it, so that to a container it is a child as any other.
 *
 *   items ──▶ batches, kept here ── {"id","payload"} ──▶ stdin   at most `fibers` at a time
 *   ledger ◀── answer, checked ◀── {"id","status"} ───── stdout  else: a breach, and the program is killed
 */
import { mkdirSync, rmdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { LaunchError } from "../errors.js";
import type { Entry } from "../ledger.js";
import { MarkEncoder } from "../output/output-mark.js";
import {
  MAX_FIBERS,
  type Payload,
  type Start,
  type StartRequest,
  type ToChild,
  type ToHost,
} from "../protocol.js";
import { residentMemory } from "../stats.js";
import { Breach, excerpt, MAX_ANSWER_BYTES, type ProgramAnswer, readAnswer } from "./answer.js";
import type { Child, ChildEnd, ChildEvents } from "./launcher.js";
import type { OutputPipes } from "./output-pipes.js";
import type { ProgramLedger } from "./program-ledger.js";
import { type ProgramCommand, type ProgramExit, ProgramProcess } from "./program-process.js";
import { ResultFiles } from "./result-files.js";

/** A program that has closed its stdin or stdout is mostly about to exit, and its exit code says more. */
const EXIT_MS = 1000;
/** Answers to a batch are told of so often; the container looks for them by itself as well. */
const TELL_MS = 5;
/** To ask how much memory is held takes some 20 us. */
const MEMORY_CHECK_MS = 5;
/** Errors of no item in particular: no other would fare better. */
const FATAL = new Set(["ENOENT", "EACCES", "ENOTDIR", "ENOEXEC", "EPERM", "E2BIG", "ELOOP"]);

/**
 * Ids of requests, in turn: more than can be in flight, and few enough that V8, which keeps every short string that it reads in
 * JSON in a table, finds them there. With ever new ones an item takes this process a tenth longer.
 */
const IDS = Array.from({ length: 4 * MAX_FIBERS }, (_, i) => String(i + 1));

export interface ProgramSettings extends ProgramCommand {
  readonly killSignal: NodeJS.Signals;
  /** In ms. */
  readonly forceKillAfterDelay: number;
  /** Whether it matters which item has written what to stderr. */
  readonly isAttributed: boolean;
}

interface Batch {
  readonly id: string;
  readonly payload: Payload;
  /** Place of the next item to begin. */
  next: number;
}

interface Request {
  readonly seq: number;
  readonly payload: Payload;
}

export class Program implements Child {
  readonly overflow: ResultFiles;
  readonly #start: Start;
  readonly #settings: ProgramSettings;
  readonly #ledger: ProgramLedger;
  readonly #events: ChildEvents;
  readonly #process: ProgramProcess | undefined;
  readonly #marks: MarkEncoder;
  /** Where it puts its results. */
  readonly #directory: string;
  readonly #batches: Batch[] = [];
  /** By their ids. */
  readonly #inFlight = new Map<string, Request>();
  #requests = 0;
  #answers = 0;
  #lastId = "";
  /** Number of the item that was begun last, and of the one that stderr was last marked with. */
  #lastSeq = 0;
  #markedSeq = 0;
  #isPumping = false;
  /** The `stopOnError` of an item that has failed: none of those that have the same is begun. */
  #stopped: number | undefined;
  /** It holds too much memory for another item. */
  #isFull = false;
  #isEnding = false;
  /** What it did that was not to be, or what keeps it from going on. */
  #breach: string | undefined;
  #exitTimer: NodeJS.Timeout | undefined;
  #forceTimer: NodeJS.Timeout | undefined;
  #toldAt = 0;
  #memoryCheckedAt = 0;

  constructor(
    { start }: StartRequest,
    settings: ProgramSettings,
    ledger: ProgramLedger,
    events: ChildEvents,
  ) {
    this.#start = start;
    this.#settings = settings;
    this.#ledger = ledger;
    this.#events = events;
    this.#marks = new MarkEncoder(start.mark!);
    this.#directory = `${start.directory}/${start.name}`;
    this.overflow = new ResultFiles(this.#directory);
    try {
      mkdirSync(this.#directory, { mode: 0o700 });
    } catch (error) {
      const reason = `its scratch directory could not be made: ${(error as Error).message}`;
      setImmediate(() => events.onEnd({ started: false, reason }));
      return;
    }
    this.#process = new ProgramProcess(
      { ...settings, env: { ...settings.env, ...this.#environment() } },
      {
        onLines: (lines, pending) => this.#onLines(lines, pending),
        onStderr: (bytes) => this.#onStderr(bytes),
        onWritten: () => this.#pump(),
        onClosed: (stream) => this.#onClosed(stream),
        onExit: (exit) => this.#onExit(exit),
      },
    );
    if (this.pid !== undefined) queueMicrotask(() => this.#begin());
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get output(): OutputPipes | undefined {
    const stderr = this.#process?.stderr;
    // To find that nothing is there takes longer than a short item.
    const drain = this.#settings.isAttributed ? () => stderr?.drain() : () => {};
    return stderr && { drain, hold: (isHeld) => stderr.hold(isHeld) };
  }

  send(message: ToChild | ToHost): void {
    if ("payload" in message) this.#run(message.id, message.payload);
    else if (this.#inFlight.size === 0) this.#end();
    else this.#isEnding = true;
  }

  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  keepAlive(isKept: boolean): void {
    this.#process?.keepAlive(isKept);
  }

  #environment(): NodeJS.ProcessEnv {
    const { num, generation } = this.#start;
    return {
      FORKMAP_NUM: String(num),
      FORKMAP_GENERATION: String(generation),
      FORKMAP_SCRATCH: this.#directory,
    };
  }

  /** There is no greeting: a request waits in the pipe until the program reads it. */
  #begin(): void {
    this.#events.onReady();
    if (this.#start.payload) this.#run("", this.#start.payload);
  }

  #run(id: string, payload: Payload): void {
    this.#batches.push({ id, payload, next: 0 });
    this.#lastId = id;
    this.#pump();
  }

  /** Writes requests as long as there are any and the program may have one. */
  #pump(): void {
    // What is told of what was given back may bring more.
    if (this.#isPumping || this.#breach !== undefined) return;
    this.#isPumping = true;
    for (let batch = this.#batches[0]; batch !== undefined; batch = this.#batches[0]) {
      const { payload } = batch;
      const { length } = payload.items;
      while (batch.next < length && this.#mayWrite(payload)) {
        if (this.#isOver(payload)) {
          this.#giveBack(payload.seq + batch.next);
          break;
        }
        batch.next += 1;
        this.#request(payload, batch.next - 1);
      }
      if (this.#batches[0] !== batch) continue;
      if (batch.next < length) break;
      if (payload.last) this.#isEnding = true;
      this.#batches.shift();
    }
    this.#isPumping = false;
  }

  /** Not to a program that has not read what it has. */
  #mayWrite({ fibers }: Payload): boolean {
    return this.#inFlight.size < fibers && !this.#process!.isBackedUp;
  }

  #isOver({ stopOnError }: Payload): boolean {
    if (this.#isEnding || this.#isFull || this.#ledger.isRecalled) return true;
    if (stopOnError !== undefined && stopOnError === this.#stopped) return true;
    this.#isFull = this.#holdsTooMuch();
    return this.#isFull;
  }

  #holdsTooMuch(): boolean {
    const { maxRss } = this.#start;
    // One that is too large before it has done anything would be replaced for ever.
    if (maxRss === undefined || this.#answers === 0) return false;
    const now = performance.now();
    if (now - this.#memoryCheckedAt < MEMORY_CHECK_MS) return false;
    this.#memoryCheckedAt = now;
    return (residentMemory(this.pid!) ?? 0) > maxRss;
  }

  #request(payload: Payload, place: number): void {
    const seq = payload.seq + place;
    const id = IDS[this.#requests % IDS.length]!;
    this.#requests += 1;
    // What is there was written before it.
    if (this.#settings.isAttributed) this.#process!.stderr!.drain();
    this.#inFlight.set(id, { seq, payload });
    this.#ledger.begin(seq);
    this.#lastSeq = seq;
    const long = payload.long?.[place];
    const item =
      long && "file" in long
        ? `"item_file":${JSON.stringify(long.file)}`
        : `"payload":${JSON.stringify(payload.items[place])}`;
    this.#process!.write(`{"id":"${id}",${item}}\n`);
  }

  /** All that has not been begun; the first of it is `from`. */
  #giveBack(from: number): void {
    const { seq, items } = this.#batches.at(-1)!.payload;
    this.#batches.length = 0;
    if (this.#start.payload) return;
    const to = seq + items.length;
    this.#events.onAnswer({ id: this.#lastId, status: "returned", from, to, full: this.#isDone });
  }

  /** It is taken to be of the item that was begun last. */
  #onStderr(bytes: Buffer): void {
    if (this.#markedSeq !== this.#lastSeq) {
      this.#markedSeq = this.#lastSeq;
      this.#events.onOutput?.("stderr", this.#marks.encode(this.#lastSeq));
    }
    this.#events.onOutput?.("stderr", bytes);
  }

  #onLines(lines: readonly Buffer[], pending: number): void {
    if (this.#breach !== undefined) return;
    try {
      for (let i = 0; i < lines.length; i += 1) {
        this.#take(lines[i]!, i < lines.length - 1 || pending > 0);
      }
      if (pending > MAX_ANSWER_BYTES) throw tooLong();
      if (pending > 0 && this.#inFlight.size === 0) throw new Breach("wrote without being asked");
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      return this.#break(`its program ${error.message}`);
    }
    this.#pump();
    this.#tell();
  }

  /** @throws Breach when it is not an answer to a request that is in flight, or `hasMore` comes where nothing is asked */
  #take(line: Buffer, hasMore: boolean): void {
    if (line.length > MAX_ANSWER_BYTES) throw tooLong();
    if (this.#inFlight.size === 0) {
      throw new Breach(`wrote a line without being asked: ${excerpt(line.subarray(0, 400))}`);
    }
    const answer = readAnswer(line);
    const id = this.#idOf(answer);
    const { seq, payload } = this.#inFlight.get(id)!;
    if (answer.status === "progress") return;
    if (hasMore && this.#inFlight.size === 1) {
      throw new Breach("wrote more after its answer: one request has one answer, on one line");
    }
    const entry = this.#entryOf(answer, seq, payload);
    this.#inFlight.delete(id);
    this.#answers += 1;
    if (answer.status === "error") this.#stopped = payload.stopOnError;
    this.#ledger.note(seq, entry, line.length);
  }

  /** @throws Breach when that is not of a request that is in flight */
  #idOf({ id }: ProgramAnswer): string {
    if (id !== undefined && this.#inFlight.has(id)) return id;
    const [first] = this.#inFlight.keys();
    const count = this.#inFlight.size;
    if (id === undefined) {
      if (count === 1) return first!;
      throw new Breach(`left out the "id" of its answer while ${count} requests were in flight`);
    }
    const expected =
      count === 1 ? `"${first}" was` : `one of ${[...this.#inFlight.keys()].join()} was`;
    throw new Breach(`answered with the "id" ${excerpt(id)} where ${expected} expected`);
  }

  #entryOf(
    answer: Exclude<ProgramAnswer, { status: "progress" }>,
    seq: number,
    payload: Payload,
  ): Entry {
    if (answer.status !== "ok") return answer;
    if ("file" in answer) {
      const written = this.overflow.open(seq, answer.file, answer.kind);
      if (payload.results) return { status: "ok", ...written };
      this.overflow.discard(seq);
    }
    return [payload.results && "result" in answer ? answer.result : undefined];
  }

  /** What it is done with, to the container. */
  #tell(): void {
    if (this.#inFlight.size === 0 && this.#batches.length === 0) return this.#idle();
    if (this.#start.payload || this.#answers === 0) return;
    const now = performance.now();
    const isBatch = this.#batches.length > 0;
    if (isBatch && now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    this.#say("progress");
  }

  #idle(): void {
    if (this.#start.payload) return this.#end();
    if (this.#holdsTooMuch()) this.#isFull = true;
    this.#say("ok");
    if (this.#isEnding && this.#inFlight.size === 0) this.#end();
  }

  /** Of a batch, not of an item: the ledger says what became of those. */
  #say(status: "ok" | "progress"): void {
    this.#events.onAnswer({ id: this.#lastId, status, full: this.#isDone });
  }

  /** It takes no more. */
  get #isDone(): true | undefined {
    return this.#isFull || this.#isEnding || undefined;
  }

  /** It is to end: there is nothing more to read, and it is asked to. */
  #end(): void {
    this.#isEnding = true;
    if (this.#forceTimer) return;
    const { killSignal, forceKillAfterDelay } = this.#settings;
    this.#process!.endInput();
    this.kill(killSignal);
    this.#forceTimer = setTimeout(() => this.kill("SIGKILL"), forceKillAfterDelay);
    this.#forceTimer.unref();
  }

  /** Nothing it says counts any more. */
  #break(reason: string): void {
    this.#breach ??= reason;
    this.kill("SIGKILL");
  }

  #onClosed(stream: "stdin" | "stdout"): void {
    if (this.#isEnding || this.#exitTimer) return;
    const reason = `its program has closed its ${stream}, and lives on`;
    this.#exitTimer = setTimeout(() => this.#break(reason), EXIT_MS);
    this.#exitTimer.unref();
  }

  #onExit(exit: ProgramExit): void {
    clearTimeout(this.#exitTimer);
    clearTimeout(this.#forceTimer);
    // Its last request was none if it ended by then: one that serves so many and leaves does so. But it has to do some.
    const isUnread = this.#inFlight.size === 1 && this.#process!.hasUnreadInput;
    if (isUnread && this.#answers > 0 && this.#breach === undefined) this.#ledger.unbegin();
    this.#removeDirectory();
    this.#events.onEnd(this.#endOf(exit));
  }

  #endOf(exit: ProgramExit): ChildEnd {
    if (!exit.started) return this.#failure(exit.error);
    return {
      started: true,
      pid: this.pid,
      exitCode: exit.exitCode ?? undefined,
      signal: exit.signal ?? undefined,
      breach: this.#breach,
    };
  }

  #failure(cause: NodeJS.ErrnoException): ChildEnd {
    const { code = "" } = cause;
    const [program] = this.#settings.argv;
    const why =
      code === "ENOENT" ? "the interpreter in its first line is not there" : cause.message;
    const reason = `The program ${program} could not be started: ${why}`;
    if (!FATAL.has(code)) return { started: false, reason };
    return { started: false, reason, fatal: new LaunchError(reason, { cause }) };
  }

  /** Mostly empty. What is in it goes later: it may be much. */
  #removeDirectory(): void {
    try {
      rmdirSync(this.#directory);
    } catch {
      // With the scratch directory of the container, at the latest.
      void rm(this.#directory, { recursive: true, force: true }).catch(() => {});
    }
  }
}

function tooLong(): Breach {
  return new Breach(
    `wrote a line of more than ${MAX_ANSWER_BYTES / 1024 / 1024} MiB: put what is so long into a file and answer with "result_file"`,
  );
}
