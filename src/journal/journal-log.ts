/**
 * The file of a journal: a header that says which worker it belongs to, then a line for each finished item. Lines are
 * only appended. An incomplete last line (a write was cut short) is cut off; any other damaged line is an error.
 */
import fs from "node:fs";
import path from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { JournalError } from "../errors.js";
import { decodeLine, isWhole, KEY_AT, MAX_LINE_BYTES, type Recorded } from "./journal-line.js";
import { KeyTable } from "./key-table.js";

/** What the results belong to; a journal can only be resumed with the same identity. */
export interface JournalIdentity {
  /** Name of the worker's class. */
  readonly worker: string;
  /** Differs when the same item may have another result. */
  readonly version: string;
  /** How results are recorded: `none` if the call keeps none. */
  readonly results: "text" | "json" | "advanced" | "none";
}

const FORMAT = 1;
export const LOG = "journal";
/** The file is written under this name and then renamed, so that it never lacks its header. */
export const NEW_LOG = "journal.tmp";
const NEWLINE = 10;

/** Bytes per read when the file is opened; the event loop turns between two reads. */
const CHUNK_BYTES = 2 * MAX_LINE_BYTES;
/** Bytes per read when a line is looked up: lines are roughly in the order in which items are looked up. */
const WINDOW_BYTES = 64 * 1024;
/** Not on Windows. */
const NO_FOLLOW = (fs.constants.O_NOFOLLOW as number | undefined) ?? 0;

export class JournalLog {
  readonly #directory: string;
  readonly #fd: number;
  /** Where the next line goes. */
  #end = 0;
  /** By key: where the line of an item begins. Only of lines that were there when the file was opened. */
  readonly #lines = new KeyTable();
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #isTorn = false;

  private constructor(directory: string, fd: number) {
    this.#directory = directory;
    this.#fd = fd;
  }

  /** Opens or creates the file. @throws JournalError when it is another worker's or damaged */
  static async open(directory: string, identity: JournalIdentity): Promise<JournalLog> {
    const file = path.join(directory, LOG);
    if (!fs.existsSync(file)) create(directory, identity);
    const log = new JournalLog(directory, fs.openSync(file, fs.constants.O_RDWR | NO_FOLLOW));
    try {
      log.#checkHeader(identity);
      await log.#readLines();
      return log;
    } catch (error) {
      log.close();
      throw error;
    }
  }

  /** How many items were recorded when the file was opened. */
  get size(): number {
    return this.#lines.size;
  }

  has(key: string): boolean {
    return this.#lines.get(key) !== undefined;
  }

  /** What was recorded for an item when the file was opened. */
  find(key: string): Recorded | undefined {
    const start = this.#lines.get(key);
    return start === undefined ? undefined : decodeLine(this.#lineAt(start));
  }

  /** Appends whole lines in one write; undoes a partial write if it fails. */
  append(lines: string): void {
    // The lock excludes other writers; but of a process on another machine it can only guess whether it lives.
    if (this.#isTorn || fs.fstatSync(this.#fd).size !== this.#end) {
      throw new Error("another process has written to it, or a failed write could not be undone");
    }
    const data = Buffer.from(lines);
    try {
      for (let at = 0; at < data.length;) {
        at += fs.writeSync(this.#fd, data, at, data.length - at, this.#end + at);
      }
    } catch (error) {
      this.#takeBack();
      throw error;
    }
    this.#end += data.length;
  }

  async flush(): Promise<void> {
    await promisify(fs.fsync)(this.#fd);
  }

  close(): void {
    fs.closeSync(this.#fd);
  }

  /** Truncates a partial write: otherwise the next line would be appended to half a line. */
  #takeBack(): void {
    try {
      fs.ftruncateSync(this.#fd, this.#end);
    } catch {
      this.#isTorn = true;
    }
  }

  #checkHeader(identity: JournalIdentity): void {
    const start = this.#read(0, CHUNK_BYTES);
    const length = start.indexOf(NEWLINE) + 1;
    const header = parseHeader(start.toString("utf8", 0, length));
    const problem = headerProblem(header, identity);
    if (problem !== undefined) {
      throw new JournalError(
        this.#directory,
        `The journal in ${this.#directory} ${problem}: give this run another directory, or remove that one to start over`,
      );
    }
    this.#end = length;
  }

  async #readLines(): Promise<void> {
    let number = 1;
    for (;;) {
      const chunk = this.#read(this.#end, CHUNK_BYTES);
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        number += 1;
        if (!isWhole(chunk.subarray(start, end))) throw this.#damaged(number);
        this.#lines.setAt(chunk, start + KEY_AT, this.#end + start);
        start = end + 1;
      }
      this.#end += start;
      if (chunk.length < CHUNK_BYTES) break;
      if (start === 0) throw this.#damaged(number + 1);
      await turn();
    }
    fs.ftruncateSync(this.#fd, this.#end);
  }

  #damaged(line: number): JournalError {
    const file = path.join(this.#directory, LOG);
    return new JournalError(
      this.#directory,
      `Line ${line} of ${file} is damaged: remove that line to run its item again, or the directory to start over`,
    );
  }

  #lineAt(position: number): Buffer {
    for (let length = WINDOW_BYTES; ; length *= 2) {
      const start = position - this.#windowStart;
      const end = start < 0 ? -1 : this.#window.indexOf(NEWLINE, start);
      if (end !== -1) return this.#window.subarray(start, end);
      if (length > 2 * MAX_LINE_BYTES) throw new Error("it is shorter than it was when opened");
      this.#window = this.#read(position, length);
      this.#windowStart = position;
    }
  }

  #read(position: number, length: number): Buffer {
    const buffer = Buffer.allocUnsafeSlow(length);
    let at = 0;
    for (let read = -1; at < length && read !== 0; at += read) {
      read = fs.readSync(this.#fd, buffer, at, length - at, position + at);
    }
    return buffer.subarray(0, at);
  }
}

function create(directory: string, { worker, version, results }: JournalIdentity): void {
  const file = path.join(directory, NEW_LOG);
  const header = { forkmap: "journal", format: FORMAT, worker, version, results };
  fs.rmSync(file, { force: true });
  const fd = fs.openSync(file, "wx", 0o600);
  try {
    fs.writeFileSync(fd, `${JSON.stringify(header)}\n`);
    // Otherwise a power loss may leave the renamed file without its header, and its owner would be unknown.
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(file, path.join(directory, LOG));
}

type Header = { readonly [name: string]: unknown };

function parseHeader(line: string): Header {
  try {
    return Object(JSON.parse(line)) as Header;
  } catch {
    return {};
  }
}

/** What is wrong with a journal; continues "The journal in ...". */
function headerProblem(header: Header, wanted: JournalIdentity): string | undefined {
  const text = JSON.stringify;
  if (header["forkmap"] !== "journal") return "is not a journal of forkmap";
  if (header["format"] !== FORMAT) {
    return `was made by another version of forkmap: it has format ${text(header["format"])}, and this version reads ${FORMAT}`;
  }
  if (header["worker"] !== wanted.worker) {
    return `was made by the worker ${text(header["worker"])}, not by ${text(wanted.worker)}`;
  }
  if (header["version"] !== wanted.version) {
    return `was made by version ${text(header["version"])} of ${wanted.worker}, which is now ${text(wanted.version)}`;
  }
  if (header["results"] !== wanted.results) {
    return `holds results of kind ${text(header["results"])}, and this call has ${text(wanted.results)}`;
  }
  return undefined;
}
