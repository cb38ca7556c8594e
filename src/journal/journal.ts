/**
 * The journal of a run: a directory that outlives the call and records finished items with their results, so that a run
 * killed at any moment (this process included) can be resumed.
 *
 *   journal        the header, and a line for each finished item (journal-log.ts)
 *   <key>.result   a result too long for a line
 *   lock-<mark>    of the process that has the journal open (journal-lock.ts)
 *
 * Nothing is flushed to disk before `close`: what a killed process has written stays in the page cache. Only a power
 * loss can lose the last lines and files; their items then run again.
 */
import fs from "node:fs";
import path from "node:path";
import { JournalError } from "../errors.js";
import {
  decodeFile,
  describeFile,
  encodeLine,
  encodeResult,
  type FileFacts,
} from "./journal-line.js";
import { isLock, JournalLock } from "./journal-lock.js";
import { type JournalIdentity, JournalLog, LOG, NEW_LOG } from "./journal-log.js";
import { KEY_LENGTH } from "./key-table.js";

/** A finished item. */
export interface JournalEntry {
  /** `itemKey`, or with repeated items the key of this occurrence (`KeyCounter`). */
  readonly key: string;
  /** A text, bytes, a value of the identity's kind, or `undefined` if the call keeps no results. */
  readonly result: unknown;
}

/** Lines are joined into one write up to about this many characters: V8 limits the length of a string. */
const WRITE_CHARS = 8 * 1024 * 1024;
const RESULT_FILE = /^([\w-]{43})\.(result|tmp)$/;
/** A symbolic link in place of a file is not followed. Windows has no such flag. */
const READ_FLAGS = fs.constants.O_RDONLY | ((fs.constants.O_NOFOLLOW as number | undefined) ?? 0);

export class Journal {
  readonly #directory: string;
  readonly #lock: JournalLock;
  readonly #log: JournalLog;
  readonly #isAdvanced: boolean;
  #closed: Promise<void> | undefined;

  private constructor(
    directory: string,
    lock: JournalLock,
    log: JournalLog,
    { results }: JournalIdentity,
  ) {
    this.#isAdvanced = results === "advanced";
    this.#directory = directory;
    this.#lock = lock;
    this.#log = log;
  }

  /**
   * Opens the journal in `directory`, or creates it.
   *
   * @throws JournalError when it is another worker's, in use, damaged, or not a journal
   */
  static async open(directory: string, identity: JournalIdentity): Promise<Journal> {
    const where = path.resolve(directory);
    try {
      makeDirectory(where);
      const lock = await JournalLock.take(where);
      try {
        const log = await JournalLog.open(where, identity);
        const journal = new Journal(where, lock, log, identity);
        journal.#sweep();
        return journal;
      } catch (error) {
        lock.release();
        throw error;
      }
    } catch (cause) {
      throw problem(where, "opened", cause);
    }
  }

  /** How many items earlier runs have finished. */
  get size(): number {
    return this.#log.size;
  }

  /** Returns what an earlier run recorded for an item. Entries added since `open` are not found. */
  find(key: string): { readonly result: unknown } | undefined {
    try {
      this.#checkOpen();
      const recorded = this.#log.find(key);
      return recorded?.file ? this.#readFile(key, recorded.file) : recorded;
    } catch (cause) {
      throw problem(this.#directory, "read", cause);
    }
  }

  /**
   * Records finished items: when it returns, killing this process loses none of them.
   *
   * @throws JournalError when writing fails (such as a full disk); some of the items may be recorded then
   */
  add(entries: Iterable<JournalEntry>): void {
    try {
      this.#checkOpen();
      let lines = "";
      for (const { key, result } of entries) {
        if (key.length !== KEY_LENGTH) throw new TypeError(`"${key}" is no key`);
        const content = encodeResult(result, this.#isAdvanced);
        lines += encodeLine(
          key,
          typeof content === "string" ? content : this.#writeFile(key, content.kind, content.data),
        );
        if (lines.length < WRITE_CHARS) continue;
        this.#log.append(lines);
        lines = "";
      }
      if (lines !== "") this.#log.append(lines);
    } catch (cause) {
      throw problem(this.#directory, "written", cause);
    }
  }

  /** Flushes the journal to disk and releases it; `find` and `add` throw from now on. Harmless twice. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    try {
      await this.#log.flush();
    } catch (cause) {
      throw problem(this.#directory, "written", cause);
    } finally {
      this.#log.close();
      this.#lock.release();
    }
  }

  /** The descriptor of a closed file may have been reused for another file. */
  #checkOpen(): void {
    if (this.#closed) throw new Error("it is closed");
  }

  /** The file is complete before it is renamed, and renamed before a line refers to it. */
  #writeFile(key: string, kind: FileFacts["kind"], data: Buffer): string {
    const name = path.join(this.#directory, key);
    try {
      fs.writeFileSync(`${name}.tmp`, data, { flag: "wx", mode: 0o600 });
      fs.renameSync(`${name}.tmp`, `${name}.result`);
    } catch (error) {
      fs.rmSync(`${name}.tmp`, { force: true });
      throw error;
    }
    return describeFile(kind, data);
  }

  /** Returns `undefined` if the file is not what was written, as after a power loss: the item runs again. */
  #readFile(key: string, facts: FileFacts): { readonly result: unknown } | undefined {
    let fd: number;
    try {
      fd = fs.openSync(path.join(this.#directory, `${key}.result`), READ_FLAGS);
    } catch (error) {
      if (["ENOENT", "ELOOP"].includes((error as NodeJS.ErrnoException).code ?? ""))
        return undefined;
      throw error;
    }
    try {
      return decodeFile(fs.readFileSync(fd), facts);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Removes files left by a run that was killed before it wrote the line. */
  #sweep(): void {
    for (const name of fs.readdirSync(this.#directory)) {
      const [, key, kind] = RESULT_FILE.exec(name) ?? [];
      if (key === undefined || (kind === "result" && this.#log.has(key))) continue;
      fs.rmSync(path.join(this.#directory, name), { force: true });
    }
  }
}

function makeDirectory(directory: string): void {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const names = fs.readdirSync(directory);
  const stranger = names.find((name) => name !== NEW_LOG && !isLock(name));
  if (stranger === undefined || names.includes(LOG)) return;
  throw new JournalError(
    directory,
    `The directory ${directory} is not empty and is not a journal (it holds ${JSON.stringify(stranger)}): give the journal a directory of its own`,
  );
}

function problem(directory: string, verb: string, cause: unknown): JournalError {
  if (cause instanceof JournalError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const advice =
    code === "ENOSPC" || code === "EDQUOT"
      ? "; free some space and start the run again: recorded items are not repeated"
      : "";
  return new JournalError(
    directory,
    `The journal in ${directory} could not be ${verb}: ${message}${advice}`,
    { cause },
  );
}
