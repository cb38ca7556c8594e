/** The child's end of its result buffers, see ../result-buffers.ts. */
import { openSync } from "node:fs";
import { type Payable, putPayload, type Written } from "../payload.js";
import type { Start } from "../protocol.js";
import {
  buffersFile,
  positionOf,
  RESULT_BUFFER_LENGTH,
  RESULT_BUFFERS,
} from "../result-buffers.js";
import type { LedgerWriter } from "./ledger-writer.js";

export class ResultBuffers {
  readonly #file: string;
  readonly #ledger: LedgerWriter;
  /** How often each has been written. */
  readonly #used = new Int32Array(RESULT_BUFFERS);
  #fd: number | undefined;

  constructor(start: Start, ledger: LedgerWriter) {
    this.#file = buffersFile(start);
    this.#ledger = ledger;
  }

  /** `undefined` when it has to go elsewhere: it is too long, or the parent has read none of those before it. */
  put(payable: Payable): (Written & { readonly buffer: number }) | undefined {
    if (payable.data.length > RESULT_BUFFER_LENGTH) return undefined;
    const buffer = this.#used.findIndex((used, each) => used === this.#ledger.released(each));
    if (buffer === -1) return undefined;
    this.#fd ??= openSync(this.#file, "wx", 0o600);
    const written = putPayload(this.#fd, payable, positionOf(buffer));
    this.#used[buffer]! += 1;
    return { ...written, buffer };
  }
}
