/**
 * The files in which a program leaves results that are too long for a line. Only regular files in its own scratch
 * directory are accepted, as a path outside may be any file. Each is opened and removed when an answer names it, and
 * read once.
 */
import { isUtf8 } from "node:buffer";
import { closeSync, constants, fstatSync, openSync, realpathSync, rmSync } from "node:fs";
import path from "node:path";
import { Breach, excerpt } from "../../wire/breach.js";
import { getPayload, getPayloadLater, type PayloadKind, type Written } from "../../wire/payload.js";
import type { ResultPlace } from "../../wire/protocol.js";
import { type Overflow, SYNC_LIMIT_BYTES } from "../overflow.js";

/** Does not follow a link, and does not wait for the writer of a FIFO. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class ResultFiles implements Overflow {
  readonly #directory: string;
  /** Descriptors, by the number of their items. */
  readonly #files = new Map<number, number>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws Breach when the file may not be read */
  open(seq: number, name: string, kind: PayloadKind): Written {
    const file = path.resolve(this.#directory, name);
    const refuse = (why: string) =>
      new Breach(
        `answered with the "result_file" ${excerpt(name)}, ${why}: expected a file in FORKMAP_SCRATCH, ${this.#directory}`,
      );
    if (!isWithin(file, this.#directory)) throw refuse("which is outside");
    let fd: number;
    try {
      const parent = realpathSync(path.dirname(file));
      if (!isWithin(`${parent}/x`, realpathSync(this.#directory)))
        throw refuse("which is behind a link");
      fd = openSync(file, FLAGS);
    } catch (error) {
      if (error instanceof Breach) throw error;
      const { code } = error as NodeJS.ErrnoException;
      throw refuse(code === "ELOOP" ? "which is a link" : `which cannot be read (${code})`);
    }
    const stats = fstatSync(fd);
    const problem = stats.isFile()
      ? stats.nlink > 1 && "which has another name as well"
      : `which is ${stats.isDirectory() ? "a directory" : "no regular file"}`;
    if (problem) {
      closeSync(fd);
      throw refuse(problem);
    }
    // Removed now: the program may use the same name for its next result before this one is read.
    rmSync(file, { force: true });
    this.#files.set(seq, fd);
    return { kind, size: stats.size };
  }

  takeResult(seq: number, { kind, size }: ResultPlace): unknown {
    const fd = this.#files.get(seq)!;
    this.#files.delete(seq);
    const written = { kind: "bytes", size } as const;
    let isLater = false;
    try {
      if (size <= SYNC_LIMIT_BYTES) return valueOf(getPayload(fd, written, 0), kind);
      isLater = true;
      return getPayloadLater(fd, written, 0)
        .then((bytes) => valueOf(bytes, kind))
        .finally(() => closeSync(fd));
    } finally {
      if (!isLater) closeSync(fd);
    }
  }

  /** Never called: all but results comes in the lines of a program. */
  takeWord(): never {
    throw new Error("A program leaves results in files, and nothing else");
  }

  takeEnding(): never {
    return this.takeWord();
  }

  discard(seq: number): void {
    const fd = this.#files.get(seq);
    if (fd !== undefined) closeSync(fd);
    this.#files.delete(seq);
  }

  rest(): void {}

  close(): void {
    for (const seq of this.#files.keys()) this.discard(seq);
  }
}

function isWithin(file: string, directory: string): boolean {
  return file.startsWith(`${directory}${path.sep}`);
}

function valueOf(value: unknown, kind: PayloadKind): unknown {
  const bytes = value as Uint8Array;
  if (kind === "bytes") return bytes;
  if (!isUtf8(bytes)) {
    throw new Error(
      'The result file is not UTF-8: answer with "result_type":"bytes" for what is not text',
    );
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  return kind === "json" ? JSON.parse(text) : text;
}
