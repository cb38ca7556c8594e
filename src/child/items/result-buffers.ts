/** The child's end of its result buffers, see wire/result-buffers.ts. */
import { ftruncateSync, openSync } from "node:fs";
import { buffersFile } from "../../wire/child-files.js";
import { type Payable, putPayload, type Written } from "../../wire/payload.js";
import type { ResultPlace, Start } from "../../wire/protocol.js";
import { positionOf, RESULT_BUFFER_LENGTH, RESULT_BUFFERS } from "../../wire/result-buffers.js";
import type { LedgerWriter } from "./ledger-writer.js";

export class ResultBuffers {
  readonly #file: string;
  readonly #ledger: LedgerWriter;
  /** How often each buffer has been written. */
  readonly #used = new Int32Array(RESULT_BUFFERS);
  #fd: number | undefined;

  constructor(start: Start, ledger: LedgerWriter) {
    this.#file = buffersFile(start);
    this.#ledger = ledger;
  }

  /** Returns `undefined` if the result needs its own file: it is too long, or the parent has read no buffer yet. */
  put(payable: Payable): ResultPlace | undefined {
    if (payable.data.length > RESULT_BUFFER_LENGTH) return undefined;
    const buffer = this.#used.findIndex((_used, each) => this.#isFree(each));
    if (buffer === -1) return undefined;
    const fd = (this.#fd ??= openSync(this.#file, "wx", 0o600));
    const written = this.#putRoomily(fd, payable, buffer);
    this.#used[buffer]! += 1;
    return { ...written, buffer };
  }

  /** Writes the result. If that fails and all later buffers have been read, frees their disk space and tries again. */
  #putRoomily(fd: number, payable: Payable, buffer: number): Written {
    const position = positionOf(buffer);
    try {
      return putPayload(fd, payable, position);
    } catch (error) {
      if (!this.#used.every((_used, each) => each < buffer || this.#isFree(each))) throw error;
      try {
        ftruncateSync(fd, position);
        return putPayload(fd, payable, position);
      } catch {
        ftruncateSync(fd, position);
        throw error;
      }
    }
  }

  #isFree(buffer: number): boolean {
    return this.#used[buffer] === this.#ledger.released(buffer);
  }
}
