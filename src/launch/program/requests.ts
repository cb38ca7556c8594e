/**
 * The requests of a program: which items wait for it, which were written to it, and the outcomes that its answers give
 * them, which are noted in the ledger. A line that answers none of them is a `Breach`, which `Program` handles.
 */
import { stringify } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import { Breach, excerpt } from "../../wire/breach.js";
import type { Entry } from "../../wire/ledger.js";
import { type Answer, MAX_FIBERS, type Payload } from "../../wire/protocol.js";
import { MAX_ANSWER_BYTES, type ProgramAnswer, readAnswer, tooLong } from "./answer.js";
import type { ProgramLedger } from "./program-ledger.js";
import type { ResultFiles } from "./result-files.js";

/** How often answers to a batch are reported to the pool, which also checks the ledger by itself. */
const REPORT_MS = 5;
/** How many bytes a message shows of a line that answers no request. */
const SHOWN_BYTES = 400;

/**
 * Ids of requests, used in rotation: more than can be in flight, and few enough that V8 finds them in the table where
 * it keeps every short string that it reads in JSON. With ever new ids this process needs a tenth more time for an
 * item.
 */
const IDS = Array.from({ length: 4 * MAX_FIBERS }, (_, i) => String(i + 1));

/** What `Requests` needs of its program. */
export interface Partner {
  /** Whether earlier input still waits for the program to read it. */
  isBackedUp(): boolean;
  write(line: string): void;
  /**
   * Whether the program holds too much memory for another item. Asked only after its first answer: a program that is
   * too large from the start would otherwise be replaced forever.
   */
  holdsTooMuch(): boolean;
  /** An item is about to be written. */
  onBegin(seq: number): void;
  /** Reports to the pool. */
  say(answer: Answer): void;
  /** The program was to end once it has nothing to do, and now has nothing to do. */
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
  /** The items of a program that gets no others: its end reports them, not `say`. */
  readonly #only: Payload | undefined;
  readonly #batches: Batch[] = [];
  /** By their ids. */
  readonly #inFlight = new Map<string, Request>();
  #count = 0;
  #answers = 0;
  #lastId = "";
  #isPumping = false;
  /** The `stopOnError` of an item that has failed: no item with the same value is begun. */
  #stopped: number | undefined;
  /** Whether the program holds too much memory for another item. */
  #isFull = false;
  #isEnding = false;
  #isClosed = false;
  #reportedAt = 0;
  /** Whether an error is still to be reported: other programs may have to begin nothing more. */
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

  /** How many are in flight. */
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

  /** Begins no further item; the program ends once none is in flight. */
  end(): void {
    this.#isEnding = true;
    if (this.#inFlight.size === 0) this.#program.onDone();
  }

  /** Stops writing. Unwritten items are not returned: the pool takes them back when the program has ended. */
  close(): void {
    this.#isClosed = true;
  }

  /** Writes requests while items wait and the program may get one. */
  pump(): void {
    // The pool may add a batch from inside `say`, when items are returned to it.
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
   * Handles what the program has written: whole lines, and `pending` bytes of the next one.
   *
   * @throws Breach when a line does not answer a request in flight
   */
  read(lines: readonly Buffer[], pending: number): void {
    for (let i = 0; i < lines.length; i += 1) {
      this.#take(lines[i]!, i < lines.length - 1 || pending > 0);
    }
    if (pending > MAX_ANSWER_BYTES) throw tooLong();
    if (pending > 0 && this.#inFlight.size === 0) throw new Breach("wrote without being asked");
    this.pump();
    this.#report();
  }

  /** Whether the program may get another request: only once it has read the earlier ones. */
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
    const encoded = payload.encoded?.[place];
    const item =
      encoded && "file" in encoded
        ? fieldsOfFile(encoded)
        : `"payload":${stringify(payload.items[place])}`;
    this.#program.write(`{"id":"${id}",${item}}\n`);
  }

  /** Returns all items that were not begun to the pool; `from` is the number of the first. */
  #giveBack(from: number): void {
    const { seq, items } = this.#batches.at(-1)!.payload;
    this.#batches.length = 0;
    if (this.#only) return;
    const to = seq + items.length;
    this.#program.say({ id: this.#lastId, status: "returned", from, to, full: this.#takesNoMore });
  }

  /** @throws Breach when the line answers no request in flight, or answers the last one and more follows (`hasMore`) */
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

  /** @throws Breach when the id is not that of a request in flight */
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

  /** Reports to the pool which items are done. */
  #report(): void {
    if (this.#inFlight.size === 0 && this.#batches.length === 0) return this.#idle();
    if (this.#only || this.#answers === 0) return;
    const now = monotonic();
    const isBatch = this.#batches.length > 0;
    if (isBatch && !this.#isUrgent && now - this.#reportedAt < REPORT_MS) return;
    this.#isUrgent = false;
    this.#reportedAt = now;
    this.#say("progress");
  }

  #idle(): void {
    if (this.#only) return this.#program.onDone();
    this.#looksFull();
    this.#say("ok");
    if (this.#isEnding && this.#inFlight.size === 0) this.#program.onDone();
  }

  /** Reports on a batch; the ledger holds the outcomes of its items. */
  #say(status: "ok" | "progress"): void {
    this.#program.say({ id: this.#lastId, status, full: this.#takesNoMore });
  }

  get #takesNoMore(): true | undefined {
    return this.#isFull || this.#isEnding || undefined;
  }
}

function fieldsOfFile({ file, kind }: { readonly file: string; readonly kind: string }): string {
  const type = kind === "bytes" ? '"item_type":"bytes",' : "";
  return `${type}"item_file":${stringify(file)}`;
}
