/**
 * The requests of a program: which items wait for it, which it has been written, and what its answers make of them, which is
 * noted in the ledger. What is no answer to one of them is a `Breach`; what comes of that is the program's business.
 */
import type { Entry } from "../../wire/ledger.js";
import { monotonic } from "../../system/monotonic.js";
import { type Answer, MAX_FIBERS, type Payload } from "../../wire/protocol.js";
import { Breach, excerpt } from "../../wire/breach.js";
import { MAX_ANSWER_BYTES, type ProgramAnswer, readAnswer, tooLong } from "./answer.js";
import type { ProgramLedger } from "./program-ledger.js";
import type { ResultFiles } from "./result-files.js";
import { stringify } from "../../system/json.js";

/** Answers to a batch are told of so often; the pool looks for them by itself as well. */
const TELL_MS = 5;
/** What is shown of a line, in bytes, that is no answer at all. */
const SHOWN_BYTES = 400;

/**
 * Ids of requests, in turn: more than can be in flight, and few enough that V8, which keeps every short string that it reads in
 * JSON in a table, finds them there. With ever new ones an item takes this process a tenth longer.
 */
const IDS = Array.from({ length: 4 * MAX_FIBERS }, (_, i) => String(i + 1));

/** The program, as far as its requests are concerned. */
export interface Partner {
  /** It has not yet read what it was written. */
  isBackedUp(): boolean;
  write(line: string): void;
  /** For another item. Only asked when it has done one: a program too large before that would be replaced for ever. */
  holdsTooMuch(): boolean;
  /** An item is about to be written. */
  onBegin(seq: number): void;
  /** Tells the pool. */
  say(answer: Answer): void;
  /** It was to end when it has nothing to do, and now it has nothing. */
  onDone(): void;
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

export class Requests {
  readonly #program: Partner;
  readonly #ledger: ProgramLedger;
  readonly #files: ResultFiles;
  /** It has no other items than these, and nobody to tell of them. */
  readonly #only: Payload | undefined;
  readonly #batches: Batch[] = [];
  /** By their ids. */
  readonly #inFlight = new Map<string, Request>();
  #count = 0;
  #answers = 0;
  #lastId = "";
  #isPumping = false;
  /** The `stopOnError` of an item that has failed: none of those that have the same is begun. */
  #stopped: number | undefined;
  /** It holds too much memory for another item. */
  #isFull = false;
  #isEnding = false;
  #isClosed = false;
  #toldAt = 0;
  /** There is an error among what is to be told: other programs may have to begin nothing more. */
  #isUrgent = false;

  constructor(
    program: Partner,
    ledger: ProgramLedger,
    files: ResultFiles,
    only: Payload | undefined,
  ) {
    this.#program = program;
    this.#ledger = ledger;
    this.#files = files;
    this.#only = only;
  }

  /** In flight. */
  get size(): number {
    return this.#inFlight.size;
  }

  /** How many have been answered. */
  get answers(): number {
    return this.#answers;
  }

  add(id: string, payload: Payload): void {
    this.#batches.push({ id, payload, next: 0 });
    this.#lastId = id;
    this.pump();
  }

  /** No item is begun any more. */
  end(): void {
    this.#isEnding = true;
    if (this.#inFlight.size === 0) this.#program.onDone();
  }

  /** Nothing is written any more, and what was not is not given back: whoever ends the program sees to that. */
  close(): void {
    this.#isClosed = true;
  }

  /** Writes requests as long as there are any and the program may have one. */
  pump(): void {
    // What is told of what was given back may bring more.
    if (this.#isPumping || this.#isClosed) return;
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
        this.#write(payload, batch.next - 1);
      }
      if (this.#batches[0] !== batch) continue;
      if (batch.next < length) break;
      if (payload.last) this.#isEnding = true;
      this.#batches.shift();
    }
    this.#isPumping = false;
  }

  /**
   * Takes what the program has written: whole lines, and of the next one the beginning.
   *
   * @throws Breach when that is not what it was asked for
   */
  read(lines: readonly Buffer[], pending: number): void {
    for (let i = 0; i < lines.length; i += 1) {
      this.#take(lines[i]!, i < lines.length - 1 || pending > 0);
    }
    if (pending > MAX_ANSWER_BYTES) throw tooLong();
    if (pending > 0 && this.#inFlight.size === 0) throw new Breach("wrote without being asked");
    this.pump();
    this.#tell();
  }

  /** Not to a program that has not read what it has. */
  #mayWrite({ fibers }: Payload): boolean {
    return this.#inFlight.size < fibers && !this.#program.isBackedUp();
  }

  #isOver({ stopOnError }: Payload): boolean {
    if (this.#isEnding || this.#isFull || this.#ledger.isRecalled) return true;
    if (stopOnError !== undefined && stopOnError === this.#stopped) return true;
    return this.#looksFull();
  }

  #looksFull(): boolean {
    if (this.#answers > 0 && this.#program.holdsTooMuch()) this.#isFull = true;
    return this.#isFull;
  }

  #write(payload: Payload, place: number): void {
    const seq = payload.seq + place;
    const id = IDS[this.#count % IDS.length]!;
    this.#count += 1;
    this.#program.onBegin(seq);
    this.#inFlight.set(id, { seq, payload });
    this.#ledger.begin(seq);
    const long = payload.long?.[place];
    const item =
      long && "file" in long
        ? `"item_file":${stringify(long.file)}`
        : `"payload":${stringify(payload.items[place])}`;
    this.#program.write(`{"id":"${id}",${item}}\n`);
  }

  /** All that has not been begun; the first of it is `from`. */
  #giveBack(from: number): void {
    const { seq, items } = this.#batches.at(-1)!.payload;
    this.#batches.length = 0;
    if (this.#only) return;
    const to = seq + items.length;
    this.#program.say({ id: this.#lastId, status: "returned", from, to, full: this.#takesNoMore });
  }

  /** @throws Breach when it is not an answer to a request that is in flight, or `hasMore` comes where nothing is asked */
  #take(line: Buffer, hasMore: boolean): void {
    if (line.length > MAX_ANSWER_BYTES) throw tooLong();
    if (this.#inFlight.size === 0) {
      throw new Breach(
        `wrote a line without being asked: ${excerpt(line.subarray(0, SHOWN_BYTES))}`,
      );
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
    if (answer.status === "error") {
      this.#stopped = payload.stopOnError;
      this.#isUrgent = true;
    }
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
    const expected = count === 1 ? `"${first}"` : `one of ${[...this.#inFlight.keys()].join(", ")}`;
    throw new Breach(`answered with the "id" ${excerpt(id)} where ${expected} was expected`);
  }

  #entryOf(
    answer: Exclude<ProgramAnswer, { status: "progress" }>,
    seq: number,
    payload: Payload,
  ): Entry {
    if (answer.status !== "ok") return answer;
    if ("file" in answer) {
      const written = this.#files.open(seq, answer.file, answer.kind);
      if (payload.results) return { status: "ok", ...written };
      this.#files.discard(seq);
    }
    return [payload.results && "result" in answer ? answer.result : undefined];
  }

  /** What it is done with, to the pool. */
  #tell(): void {
    if (this.#inFlight.size === 0 && this.#batches.length === 0) return this.#idle();
    if (this.#only || this.#answers === 0) return;
    const now = monotonic();
    const isBatch = this.#batches.length > 0;
    if (isBatch && !this.#isUrgent && now - this.#toldAt < TELL_MS) return;
    this.#isUrgent = false;
    this.#toldAt = now;
    this.#say("progress");
  }

  #idle(): void {
    if (this.#only) return this.#program.onDone();
    this.#looksFull();
    this.#say("ok");
    if (this.#isEnding && this.#inFlight.size === 0) this.#program.onDone();
  }

  /** Of a batch, not of an item: the ledger says what became of those. */
  #say(status: "ok" | "progress"): void {
    this.#program.say({ id: this.#lastId, status, full: this.#takesNoMore });
  }

  get #takesNoMore(): true | undefined {
    return this.#isFull || this.#isEnding || undefined;
  }
}
