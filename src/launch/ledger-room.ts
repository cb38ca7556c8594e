/** The room of a pool whose children write ledgers: one file beside the scratch directory holds those of all slots. */
import { closeSync, constants, openSync, unlinkSync, writeSync } from "node:fs";
import { ledgerFile } from "../wire/child-files.js";
import { LedgerReader } from "../wire/ledger-reader.js";
import type { Ledger } from "../wire/ledger.js";
import type { LedgerShape } from "../wire/protocol.js";
import { type Guard, ScratchRoom } from "./scratch-room.js";

export class LedgerRoom extends ScratchRoom {
  readonly #shape: LedgerShape;
  #fd = -1;

  constructor(root: string | undefined, shape: LedgerShape, guard: Guard) {
    super(root, guard);
    this.#shape = shape;
  }

  protected override furnish(): void {
    // O_EXCL: the file must not exist yet, and a link is not followed.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    this.#fd = openSync(ledgerFile(this), flags, 0o600);
  }

  /**
   * Returns the slot's part of the file. Zeros are written to all of it: where the disk has no room, the child, which
   * only maps the file, would get a SIGBUS.
   */
  ledger(num: number): Ledger {
    const { cellBytes } = this.#shape;
    const offset = num * cellBytes;
    const zeros = Buffer.alloc(cellBytes);
    for (let at = 0; at < cellBytes;) {
      at += writeSync(this.#fd, zeros, at, cellBytes - at, offset + at);
    }
    return new LedgerReader({ fd: this.#fd, offset }, this.#shape);
  }

  override async remove(): Promise<void> {
    if (this.#fd !== -1) {
      closeSync(this.#fd);
      this.#fd = -1;
      try {
        unlinkSync(ledgerFile(this));
      } catch {
        // Another process or the user has removed it already.
      }
    }
    await super.remove();
  }
}
