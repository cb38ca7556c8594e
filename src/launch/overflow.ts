/**
 * The overflow of a child, seen from the parent: results, item outcomes and the reason for the child's end that are too
 * long for its ledger. Each start method has its own place for them; processes use files in the scratch directory.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { buffersFile, endingFile, resultFile, wordFile } from "../wire/child-files.js";
import { getPayload, getPayloadLater, keepsBytes, type Written } from "../wire/payload.js";
import type { ResultPlace, Start } from "../wire/protocol.js";
import { positionOf } from "../wire/result-buffers.js";

/** The overflow of one child; each entry can be taken once. */
export interface Overflow {
  /** Returns the result of an item, or a promise of it when reading takes time. */
  takeResult(seq: number, place: ResultPlace): unknown;
  /** Returns the outcome of an item, as JSON. */
  takeWord(seq: number): string;
  /** Returns why the child ended, as JSON. */
  takeEnding(): string;
  /** Removes what an item may have left without an entry in the ledger. */
  discard(seq: number): void;
  /** Called with `true` while no results are expected: little memory and disk is then held for them. */
  rest(isResting: boolean): void;
  /** Called when the child has ended and nothing more will be taken. */
  close(): void;
}

/**
 * A result of up to this many bytes is read synchronously (about 30 us, where a round trip through the thread pool
 * costs 100 and more); copying a longer one would hold up the event loop.
 */
export const SYNC_LIMIT_BYTES = 1024 * 1024;
/** Result buffers of an idle child stay on disk while none has held a result longer than this. */
const RESTING_BYTES = 1024 * 1024;
/** A link or FIFO that a child put in the place of a file is neither followed nor waited for. */
const CAREFULLY = constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class OverflowFiles implements Overflow {
  readonly #start: Start;
  /** Descriptor of the result buffers, opened for the first result in them. */
  #fd: number | undefined;
  /** Whether the buffers have held a result longer than `RESTING_BYTES`. */
  #isLarge = false;
  #reads = 0;
  /** The memory that the last large text was read into, for reuse: fresh memory costs more than filling it. */
  #room: Buffer | undefined;
  #isResting = false;
  #isClosed = false;

  constructor(start: Start) {
    this.#start = start;
  }

  takeResult(seq: number, place: ResultPlace): unknown {
    if (place.buffer === undefined) return takeFile(resultFile(this.#start, seq), place);
    this.#fd ??= openFile(buffersFile(this.#start), constants.O_RDWR);
    const position = positionOf(place.buffer);
    assertHolds(this.#fd, position + place.size);
    if (place.size > RESTING_BYTES) this.#isLarge = true;
    if (place.size <= SYNC_LIMIT_BYTES) return getPayload(this.#fd, place, position);
    this.#reads += 1;
    const room = this.#takeRoom(place);
    return getPayloadLater(this.#fd, place, position, room).finally(() => {
      this.#reads -= 1;
      this.#room = room;
      this.#tidy();
    });
  }

  #takeRoom({ kind, size }: ResultPlace): Buffer | undefined {
    if (keepsBytes(kind)) return undefined;
    const room = this.#room;
    this.#room = undefined;
    return room && room.length >= size ? room : Buffer.allocUnsafeSlow(size);
  }

  takeWord(seq: number): string {
    return takeText(wordFile(this.#start, seq));
  }

  takeEnding(): string {
    return takeText(endingFile(this.#start));
  }

  discard(seq: number): void {
    for (const file of [resultFile(this.#start, seq), wordFile(this.#start, seq)]) {
      remove(file);
    }
    // The child may have ended while it wrote its first result into the buffers.
    if (this.#fd === undefined) remove(buffersFile(this.#start));
  }

  rest(isResting: boolean): void {
    this.#isResting = isResting;
    this.#tidy();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#fd !== undefined) remove(buffersFile(this.#start));
    this.#tidy();
  }

  #tidy(): void {
    if (this.#fd === undefined || this.#reads > 0) return;
    if (this.#isClosed) {
      closeSync(this.#fd);
      this.#fd = undefined;
    } else if (this.#isResting && this.#isLarge) {
      ftruncateSync(this.#fd);
      this.#isLarge = false;
      this.#room = undefined;
    }
  }
}

function takeFile(file: string, written: Written): unknown {
  const fd = openFile(file, constants.O_RDONLY);
  let isLater = false;
  const leave = () => {
    closeSync(fd);
    remove(file);
  };
  try {
    assertHolds(fd, written.size);
    if (written.size <= SYNC_LIMIT_BYTES) return getPayload(fd, written, 0);
    isLater = true;
    return getPayloadLater(fd, written, 0).finally(leave);
  } finally {
    if (!isLater) leave();
  }
}

function takeText(file: string): string {
  const fd = openFile(file, constants.O_RDONLY);
  try {
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
    remove(file);
  }
}

/** @throws when the file is missing or not a regular one */
function openFile(file: string, flags: number): number {
  const fd = openSync(file, flags | CAREFULLY);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error(`${file} is not a regular file`);
}

/** Called before memory is allocated for a large result, which may be missing from the file. */
function assertHolds(fd: number, size: number): void {
  if (size <= SYNC_LIMIT_BYTES || fstatSync(fd).size >= size) return;
  throw new Error("A file in the scratch directory is shorter than its child reported");
}

/** Removes a file, or what the child put in its place; what cannot be removed now is removed with the directory. */
function remove(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch {
    // The file is still being written to.
  }
}
