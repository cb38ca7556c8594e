/**
 * The files in which long items lie on their way to children. One whose item is done is used again for another: its pages
 * are there already, and to make and remove them takes most of the time (1 MiB: 0.03 ms in place of 0.2).
 */
import { rmSync, truncateSync } from "node:fs";
import { type Payable, payableText, writePayload } from "../wire/payload.js";
import { LONGEST_INLINE, type LongItem } from "../wire/protocol.js";

/** While none is in use, no larger ones are kept than this, and no more than these. */
const IDLE_BYTES = 1024 * 1024;
const IDLE_FILES = 8;

export interface ItemFileUse {
  /** A file that is used again is cut to its item, for readers that do not know its size. */
  readonly isCut?: boolean;
}

interface ItemFile {
  readonly path: string;
  /** Bytes, of the largest item it has held. */
  size: number;
}

export class ItemFiles {
  readonly longerThan = LONGEST_INLINE;
  readonly #directory: string;
  readonly #isCut: boolean;
  readonly #inUse = new Map<string, ItemFile>();
  #free: ItemFile[] = [];
  #made = 0;

  constructor(directory: string, { isCut = false }: ItemFileUse = {}) {
    this.#directory = directory;
    this.#isCut = isCut;
  }

  /** @throws when it cannot be written: a full disk */
  keep(text: string, kind: "text" | "json"): LongItem {
    const payable = kind === "text" ? payableText(text) : { kind, data: text };
    const free = this.#free.pop();
    if (!free) return this.#make(payable);
    try {
      return this.#write(free, payable, "r+");
    } catch {
      // Those that are kept may be what there is no room for.
      for (const { path } of this.#free.splice(0)) rmSync(path, { force: true });
      return this.#make(payable);
    }
  }

  /** Its item will not be read any more. */
  release(item: LongItem): void {
    const file = "file" in item && this.#inUse.get(item.file);
    if (!file) return;
    const { path } = file;
    this.#inUse.delete(path);
    this.#free.push(file);
    if (this.#inUse.size === 0) this.#trim();
  }

  #make(payable: Payable): LongItem {
    this.#made += 1;
    return this.#write({ path: `${this.#directory}/item-${this.#made}`, size: 0 }, payable, "wx");
  }

  #write(file: ItemFile, payable: Payable, flag: "wx" | "r+"): LongItem {
    const written = writePayload(file.path, payable, flag);
    if (this.#isCut && file.size > written.size) {
      truncateSync(file.path, written.size);
      file.size = written.size;
    }
    file.size = Math.max(file.size, written.size);
    this.#inUse.set(file.path, file);
    return { file: file.path, ...written };
  }

  #trim(): void {
    const fitting = this.#free.filter(({ size }) => size <= IDLE_BYTES).slice(0, IDLE_FILES);
    for (const file of this.#free) if (!fitting.includes(file)) rmSync(file.path, { force: true });
    this.#free = fitting;
  }
}
