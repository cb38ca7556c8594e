/**
 * What a child left that is too long for its ledger, seen from the parent: results, what became of an item, why the child
 * ended. Where that lies is the start method's business: processes leave it in files of the scratch directory.
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
import { getPayload, getPayloadLater, type Written } from "../wire/payload.js";
import type { ResultPlace, Start } from "../wire/protocol.js";
import { positionOf } from "../wire/result-buffers.js";

/** Of one child; each thing can be had once. */
export interface Overflow {
  /** The result of an item; a promise of it when it takes time to read. */
  takeResult(seq: number, place: ResultPlace): unknown;
  /** What became of an item, as JSON. */
  takeWord(seq: number): string;
  /** Why the child ended, as JSON. */
  takeEnding(): string;
  /** Forgets what an item may have left of which the ledger says nothing. */
  discard(seq: number): void;
  /** Whether results are expected. When not, little memory is held for them. */
  rest(isResting: boolean): void;
  /** The child has ended, and nothing more will be taken. */
  close(): void;
}

/**
 * Up to this many bytes a result is read in one synchronous go (about 30 us, where a round trip through the thread pool
 * costs 100 and more); beyond it the copy would hold up the event loop.
 */
export const SYNC_LIMIT_BYTES = 1024 * 1024;
/** What a child that rests may keep of the disk: each of its buffers so much. */
const RESTING_BYTES = 1024 * 1024;
/** What a child has put in the place of a file is not followed, and not waited for. */
const CAREFULLY = constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class OverflowFiles implements Overflow {
  readonly #start: Start;
  /** The result buffers, once there is something in them. */
  #fd: number | undefined;
  /** Something large has been in them. */
  #isLarge = false;
  #reads = 0;
  /** What the last large text was read into: fresh memory costs more than to fill it. */
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
    if (kind === "bytes") return undefined;
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
    // It may have been at its first.
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

/** @throws when it is none that a child has made */
function openFile(file: string, flags: number): number {
  const fd = openSync(file, flags | CAREFULLY);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error(`${file} is not a regular file`);
}

/** No memory is set aside for what is not there. */
function assertHolds(fd: number, size: number): void {
  if (size <= SYNC_LIMIT_BYTES || fstatSync(fd).size >= size) return;
  throw new Error("A file in scratch is shorter than its child says");
}

/** Whatever it is; what cannot be removed now goes with the directory. */
function remove(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch {
    // It is being written to.
  }
}
