/**
 * The file of a journal: a line that says whose it is, then a line for each finished item. Lines are only ever added.
 * What a write that was cut short has left at the end is cut off; anything else that is not whole is refused.
 */
import fs from "node:fs";
import path from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { JournalError } from "../errors.js";
import { decodeLine, isWhole, KEY_AT, MAX_LINE_BYTES, type Recorded } from "./journal-line.js";
import { KeyTable } from "./key-table.js";

/** Whose the results are; a journal is only good for the same. */
export interface JournalIdentity {
  /** Name of the worker's class. */
  readonly worker: string;
  /** Another one when the same item may have another result. */
  readonly version: string;
  /** What is recorded: `none` when nobody wants results. */
  readonly results: "text" | "json" | "none";
}

const FORMAT = 1;
export const LOG = "journal";
/** Where the file is made before it has its name, so that it never lacks its first line. */
export const NEW_LOG = "journal.tmp";
const NEWLINE = 10;

/** Read in one go when the file is opened; between two the event loop turns. */
const CHUNK_BYTES = 2 * MAX_LINE_BYTES;
/** Read in one go when a line is asked for: they are, roughly, in the order in which items are asked for. */
const WINDOW_BYTES = 64 * 1024;
/** Not on Windows. */
const NO_FOLLOW = (fs.constants.O_NOFOLLOW as number | undefined) ?? 0;

export class JournalLog {
  readonly #directory: string;
  readonly #fd: number;
  /** Where the next line goes. */
  #end = 0;
  /** Where the line of an item begins that was there when the file was opened. */
  readonly #lines = new KeyTable();
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #isTorn = false;

  private constructor(directory: string, fd: number) {
    this.#directory = directory;
    this.#fd = fd;
  }

  /** @throws JournalError when it is another worker's or damaged */
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

  /** How many items were recorded when it was opened. */
  get size(): number {
    return this.#lines.size;
  }

  has(key: string): boolean {
    return this.#lines.get(key) !== undefined;
  }

  /** What was recorded for an item when it was opened. */
  find(key: string): Recorded | undefined {
    const start = this.#lines.get(key);
    return start === undefined ? undefined : decodeLine(this.#lineAt(start));
  }

  /** Adds whole lines in one write; what is written when it fails is taken back. */
  append(lines: string): void {
    // The lock tells that nobody else writes; but for a process of another machine that is a guess.
    if (this.#isTorn || fs.fstatSync(this.#fd).size !== this.#end) {
      throw new Error("another process has written to it, or a write could not be taken back");
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

  /** Without it the next line would be added to half a one. */
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
        `The journal in ${this.#directory} ${problem}: give this run another directory, or remove that one to begin anew`,
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
      `Line ${line} of ${file} is damaged: remove that line to have its item run again, or the directory to begin anew`,
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
    // Or a power loss may leave the name without the line, and nobody could tell whose it is.
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

/** What is wrong with a journal, to follow "The journal in ...". */
function headerProblem(header: Header, wanted: JournalIdentity): string | undefined {
  const text = JSON.stringify;
  if (header["forkmap"] !== "journal") return "is none of forkmap's";
  if (header["format"] !== FORMAT) {
    return `was made by another version of forkmap, in format ${text(header["format"])} where this one reads ${FORMAT}`;
  }
  if (header["worker"] !== wanted.worker) {
    return `was made by the worker ${text(header["worker"])}, not by ${text(wanted.worker)}`;
  }
  if (header["version"] !== wanted.version) {
    return `was made by version ${text(header["version"])} of ${wanted.worker}, which is now ${text(wanted.version)}`;
  }
  if (header["results"] !== wanted.results) {
    return `holds results of kind ${text(header["results"])} where this call has ${text(wanted.results)}`;
  }
  return undefined;
}
