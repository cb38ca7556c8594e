/**
 * The files that carry long items to children. Once its item is done, a file is reused for another item: its pages are
 * allocated already, and creating and removing them takes most of the time (1 MiB: 0.03 ms instead of 0.2).
 */
import { rmSync, truncateSync } from "node:fs";
import { type EncodedItem, type Payable, payableText, writePayload } from "../wire/payload.js";
import { LONGEST_INLINE } from "../wire/protocol.js";

/** While no file is in use, only files up to this size are kept, and at most this many. */
const IDLE_BYTES = 1024 * 1024;
const IDLE_FILES = 8;

export interface ItemFileUse {
  /** Whether a reused file is truncated to its item, for readers that do not know the item's size. */
  readonly isCut?: boolean;
}

interface ItemFile {
  readonly path: string;
  /** Length of the file in bytes. */
  size: number;
}

export class ItemFiles {
  readonly longerThan = LONGEST_INLINE;
  readonly #directory: string;
  readonly #makeDirectory: () => void;
  readonly #isCut: boolean;
  readonly #inUse = new Map<string, ItemFile>();
  #free: ItemFile[] = [];
  #made = 0;

  /** @param makeDirectory - called before the first file is made */
  constructor(directory: string, makeDirectory: () => void, { isCut = false }: ItemFileUse = {}) {
    this.#directory = directory;
    this.#makeDirectory = makeDirectory;
    this.#isCut = isCut;
  }

  /** @throws when the item cannot be written, for example to a full disk */
  keep({ kind, data }: Payable): EncodedItem {
    const payable = kind === "text" ? payableText(data as string) : { kind, data };
    const free = this.#free.pop();
    if (!free) return this.#make(payable);
    try {
      return this.#write(free, payable, "r+");
    } catch {
      // The files kept for reuse may be what fills the disk.
      for (const { path } of this.#free.splice(0)) rmSync(path, { force: true });
      return this.#make(payable);
    }
  }

  /** Called when the item will not be read again. */
  release(item: EncodedItem): void {
    const file = "file" in item && this.#inUse.get(item.file);
    if (!file) return;
    const { path } = file;
    this.#inUse.delete(path);
    this.#free.push(file);
    if (this.#inUse.size === 0) this.#trim();
  }

  #make(payable: Payable): EncodedItem {
    if (this.#made === 0) this.#makeDirectory();
    this.#made += 1;
    return this.#write({ path: `${this.#directory}/item-${this.#made}`, size: 0 }, payable, "wx");
  }

  #write(file: ItemFile, payable: Payable, flag: "wx" | "r+"): EncodedItem {
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
