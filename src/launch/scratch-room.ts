/** The room of a container whose children are processes: a scratch directory with their ledgers in one file. */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { LaunchError } from "../errors.js";
import { LEDGER_FILE, type LedgerPlace } from "../ledger.js";
import type { LedgerShape } from "../protocol.js";
import { Scratch } from "../scratch.js";
import { ItemFiles } from "./item-files.js";

/** Who removes the directory should this process be killed. */
export interface Guard {
  guard(directory: string): void;
  unguard(directory: string): void;
}

export class ScratchRoom {
  readonly #scratch: Scratch;
  readonly #shape: LedgerShape;
  readonly #guard: Guard;
  readonly items: ItemFiles;
  #fd = -1;

  constructor(root: string | undefined, shape: LedgerShape, guard: Guard) {
    this.#scratch = new Scratch(root);
    this.items = new ItemFiles(this.#scratch.directory);
    this.#shape = shape;
    this.#guard = guard;
  }

  get directory(): string {
    return this.#scratch.directory;
  }

  async open(): Promise<void> {
    this.#guard.guard(this.directory);
    try {
      await this.#scratch.open();
    } catch (error) {
      this.#guard.unguard(this.directory);
      throw error;
    }
    try {
      // Never through a link, and not there before.
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
      this.#fd = openSync(`${this.directory}/${LEDGER_FILE}`, flags, 0o600);
    } catch (cause) {
      await this.remove();
      throw new LaunchError(`The ledger could not be made: ${(cause as Error).message}`, { cause });
    }
  }

  /**
   * The slot's part of it. Written in full: what the disk has no room for would be a SIGBUS in the child, which only
   * maps it.
   */
  ledger(num: number): LedgerPlace {
    const { cellBytes } = this.#shape;
    const offset = num * cellBytes;
    const zeros = Buffer.alloc(cellBytes);
    for (let at = 0; at < cellBytes;) {
      at += writeSync(this.#fd, zeros, at, cellBytes - at, offset + at);
    }
    return { fd: this.#fd, offset };
  }

  async remove(): Promise<void> {
    if (this.#fd !== -1) closeSync(this.#fd);
    this.#fd = -1;
    await this.#scratch.remove();
    this.#guard.unguard(this.directory);
  }
}
