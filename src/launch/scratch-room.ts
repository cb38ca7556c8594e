/** The room of a pool whose children are processes: a scratch directory, and in it the files of long items. */
import { Scratch } from "../wire/scratch.js";
import { ItemFiles, type ItemFileUse } from "./item-files.js";

/** Removes a directory should this process be killed. */
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
    this.items = new ItemFiles(this.#scratch.directory, use);
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
  }

  async remove(): Promise<void> {
    await this.#scratch.remove();
    this.#guard.unguard(this.directory);
  }
}
