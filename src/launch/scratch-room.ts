/** The room of a pool whose children are processes: a scratch directory, and in it the files of long items. */
import path from "node:path";
import { LaunchError } from "../errors.js";
import { Scratch, scratchError } from "../wire/scratch.js";
import { ItemFiles, type ItemFileUse } from "./item-files.js";

/** Removes a directory, and the ledger beside it, should this process be killed. */
export interface Guard {
  guard(directory: string): void;
  unguard(directory: string): void;
}

export class ScratchRoom {
  readonly #scratch: Scratch;
  readonly #guard: Guard;
  readonly items: ItemFiles;

  constructor(root: string | undefined, guard: Guard, use?: ItemFileUse) {
    this.#scratch = new Scratch(root);
    this.#guard = guard;
    this.items = new ItemFiles(this.directory, () => this.#scratch.make(), use);
  }

  get directory(): string {
    return this.#scratch.directory;
  }

  /** @param needsDirectory - whether the directory is made now, and not once an item or a result is written into it */
  async open(needsDirectory: boolean): Promise<void> {
    this.#guard.guard(this.directory);
    try {
      await this.#scratch.open();
      this.furnish();
      if (needsDirectory) this.#scratch.make();
    } catch (error) {
      await this.remove().catch(() => {});
      throw error instanceof LaunchError
        ? error
        : scratchError(path.dirname(this.directory), error);
    }
  }

  makeDirectory(): void {
    this.#scratch.make();
  }

  /** Makes what any child needs. */
  protected furnish(): void {}

  async remove(): Promise<void> {
    await this.#scratch.remove();
    this.#guard.unguard(this.directory);
  }
}
