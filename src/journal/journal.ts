/**
 * The journal of a run: a directory that outlives the call, in which finished items are recorded with their results,
 * so that the run can be killed at any moment, this process included, and run again.
 *
 *   journal        whose it is, and a line for each finished item (journal-log.ts)
 *   <key>.result   a result too long for a line
 *   lock-<mark>    of the process that has it open (journal-lock.ts)
 *
 * Nothing is flushed to the disk before `close`: what a killed process has written stays in the page cache. Only a
 * power loss may take the last lines and files, and their items are run again.
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
  /** As `KeyCounter` gives it. */
  readonly key: string;
  /** A string, a Uint8Array, a value as JSON carries it, or `undefined` when none was wanted. */
  readonly result: unknown;
}

/** Lines go into one write up to about so many characters: a string has its limit. */
const WRITE_CHARS = 8 * 1024 * 1024;
const RESULT_FILE = /^([\w-]{43})\.(result|tmp)$/;
/** A link in place of a file is not followed. Windows has no such flag. */
const READ_FLAGS = fs.constants.O_RDONLY | ((fs.constants.O_NOFOLLOW as number | undefined) ?? 0);

export class Journal {
  readonly #directory: string;
  readonly #lock: JournalLock;
  readonly #log: JournalLog;
  #closed: Promise<void> | undefined;

  private constructor(directory: string, lock: JournalLock, log: JournalLog) {
    this.#directory = directory;
    this.#lock = lock;
    this.#log = log;
  }

  /**
   * Opens the journal in `directory`, or makes it.
   *
   * @throws JournalError when it is another worker's, in use, damaged, or no journal
   */
  static async open(directory: string, identity: JournalIdentity): Promise<Journal> {
    const where = path.resolve(directory);
    try {
      makeDirectory(where);
      const lock = await JournalLock.take(where);
      try {
        const log = await JournalLog.open(where, identity);
        const journal = new Journal(where, lock, log);
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

  /** What an earlier run has recorded for an item. What was added since `open` is not looked for. */
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
   * @throws JournalError when there is no room, for one; then some of them may be recorded
   */
  add(entries: Iterable<JournalEntry>): void {
    try {
      this.#checkOpen();
      let lines = "";
      for (const { key, result } of entries) {
        if (key.length !== KEY_LENGTH) throw new TypeError(`"${key}" is no key`);
        const content = encodeResult(result);
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

  /** Flushes it to the disk and lets go of it; nothing can be found or added any more. Harmless twice. */
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

  /** The number of a closed file may be another file's by now. */
  #checkOpen(): void {
    if (this.#closed) throw new Error("it is closed");
  }

  /** The file is whole before it has its name, and has its name before a line tells of it. */
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

  /** `undefined` when it is not the file that was written, as after a power loss: the item is to be run again. */
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

  /** Removes files whose line was not written any more. */
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
    `The directory ${directory} is not empty and no journal (it holds ${JSON.stringify(stranger)}): give the journal a directory of its own`,
  );
}

function problem(directory: string, verb: string, cause: unknown): JournalError {
  if (cause instanceof JournalError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const advice =
    code === "ENOSPC" || code === "EDQUOT"
      ? "; make room and run again, what is recorded is not run again"
      : "";
  return new JournalError(
    directory,
    `The journal in ${directory} could not be ${verb}: ${message}${advice}`,
    { cause },
  );
}
