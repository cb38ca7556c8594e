/**
 * Writes items and results into scratch files, and reads them; both ends. A file is created exclusively, never through
 * a link, and is complete before a message or the ledger mentions it, so a half-written file is never read.
 */
import { isAscii } from "node:buffer";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  read,
  readSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { promisify } from "node:util";
import { parse, stringify } from "../system/json.js";
import { deserialize } from "./structured-clone.js";

/** `text`: UTF-8; `json`: JSON in UTF-8. */
type TextKind = "text" | "json";
/** `bytes`: unchanged; `buffer`: the same, and arrives as a Buffer; `advanced`: any value by structured clone. */
export type BytesKind = "bytes" | "buffer" | "advanced";
export type PayloadKind = TextKind | BytesKind;

/** What is to be written. */
export interface Payable {
  readonly kind: PayloadKind;
  readonly data: string | Uint8Array;
}

/** The kind of what was written, and its size in bytes. */
export interface Written {
  readonly kind: PayloadKind;
  readonly size: number;
}

/** Bytes as text. */
export interface ShortBytes {
  readonly base64: string;
  readonly kind: BytesKind;
}

/** An item that is no JSON, or too long for a line. */
export type EncodedItem =
  | ({ readonly file: string } & Written)
  | ShortBytes
  /** For a thread, which receives them in the same message as the line. */
  | { readonly text: string; readonly kind: TextKind }
  | { readonly bytes: Uint8Array; readonly kind: BytesKind };

export function ofShortBytes({ base64, kind }: ShortBytes): unknown {
  // A copy, as Node puts short Buffers into memory that they share.
  return valueOf(new Uint8Array(Buffer.from(base64, "base64")), kind);
}

/** Returns a text for writing: UTF-8, or JSON if it has half a surrogate pair, which only survives as an escape. */
export function payableText(text: string): Payable {
  return text.isWellFormed()
    ? { kind: "text", data: text }
    : { kind: "json", data: stringify(text) };
}

/** Returns the value that a text of this kind encodes. */
export function parsePayload(text: string, kind: TextKind): unknown {
  return kind === "json" ? parse(text) : text;
}

/** Returns the item, wherever it is. */
export function decodeItem(item: EncodedItem): unknown {
  if ("file" in item) return readPayload(item.file, item);
  if ("base64" in item) return ofShortBytes(item);
  return "text" in item ? parsePayload(item.text, item.kind) : valueOf(item.bytes, item.kind);
}

/** Returns about how many bytes it takes. */
export function sizeOf(item: EncodedItem): number {
  if ("file" in item) return item.size;
  if ("base64" in item) return item.base64.length;
  return "text" in item ? item.text.length : item.bytes.length;
}

/**
 * Makes the scratch directory, accessible to this user only (0700), unless it exists: this process or a child makes it
 * when it first has something to write there, and others may do so at the same time.
 *
 * @param user - id of the user that owns it; undefined on Windows, which has no such ids
 * @throws also if what exists is not such a directory, as somebody else has made it
 */
export function makeDirectory(directory: string, user = process.geteuid?.()): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  if (user === undefined) return;
  const found = lstatSync(directory);
  if (found.isDirectory() && found.uid === user && (found.mode & 0o077) === 0) return;
  throw new Error(`${directory} is not a directory that only this user can access`);
}

/**
 * Writes a file.
 *
 * @param flag - `wx` creates the file; `r+` overwrites one of our own, whose old bytes beyond the new size are ignored
 */
export function writePayload(file: string, payable: Payable, flag: "wx" | "r+" = "wx"): Written {
  const fd = openSync(file, flag, 0o600);
  try {
    return putPayload(fd, payable, 0);
  } catch (error) {
    // Usually a full disk: an incomplete file must not keep its space.
    unlinkSync(file);
    throw error;
  } finally {
    closeSync(fd);
  }
}

export function readPayload(file: string, { kind, size }: Written): unknown {
  const fd = openSync(file, "r");
  try {
    return getPayload(fd, { kind, size }, 0);
  } finally {
    closeSync(fd);
  }
}

/** Writes into an open file at `position`. */
export function putPayload(fd: number, { kind, data }: Payable, position: number): Written {
  if (typeof data !== "string") return { kind, size: putBytes(fd, data, position) };
  let size = 0;
  for (let at = 0; at < data.length;) {
    const piece = pieceFrom(data, at);
    at += piece.length;
    size += putBytes(fd, encode(piece), position + size);
  }
  return { kind, size };
}

/** Reads what was written at `position`. */
export function getPayload(fd: number, { kind, size }: Written, position: number): unknown {
  const bytes = keepsBytes(kind) ? Buffer.allocUnsafeSlow(size) : memory(size);
  for (let at = 0; at < size;) {
    const count = readSync(fd, bytes, at, size - at, position + at);
    at += count === 0 ? ended(at, size) : count;
  }
  return valueOf(bytes, kind);
}

const readLater = promisify(read);

/** Whether a value of this kind uses the memory that it was read into. */
export function keepsBytes(kind: PayloadKind): kind is BytesKind {
  return kind === "bytes" || kind === "buffer" || kind === "advanced";
}

/** Reads without blocking the event loop, except to decode. `room` is an existing buffer to read a text into. */
export async function getPayloadLater(
  fd: number,
  { kind, size }: Written,
  position: number,
  room: Buffer = Buffer.allocUnsafeSlow(size),
): Promise<unknown> {
  const bytes = room.subarray(0, size);
  for (let at = 0; at < size;) {
    const { bytesRead } = await readLater(fd, bytes, at, size - at, position + at);
    at += bytesRead === 0 ? ended(at, size) : bytesRead;
  }
  return valueOf(bytes, kind);
}

function ended(at: number, size: number): never {
  throw new Error(`A file in scratch ended after ${at} of ${size} bytes`);
}

function putBytes(fd: number, bytes: Uint8Array, position: number): number {
  const { length } = bytes;
  for (let at = 0; at < length;) at += writeSync(fd, bytes, at, length - at, position + at);
  return length;
}

/**
 * A text is encoded to UTF-8 in pieces of this many characters, always in the same memory: 1 MiB takes 0.06 ms, and 0.5
 * ms when Node allocates one buffer for the whole text (Node 20; 22 and 26 are alike).
 */
const PIECE_LENGTH = 128 * 1024;
const encoder = new TextEncoder();

function pieceFrom(text: string, at: number): string {
  const end = at + PIECE_LENGTH;
  // Never separates the halves of a surrogate pair.
  const isInPair = end < text.length && isHighSurrogate(text.charCodeAt(end - 1));
  return text.slice(at, isInPair ? end - 1 : end);
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}

function encode(text: string): Uint8Array {
  const bytes = memory(3 * text.length);
  return bytes.subarray(0, encoder.encodeInto(text, bytes).written);
}

/** A larger buffer is not kept for reuse. */
const MOST_KEPT_BYTES = 1024 * 1024;
let kept = Buffer.alloc(0);

/** Returns a buffer that is valid until the next call. Reused, because fresh memory costs more than filling it. */
function memory(bytes: number): Buffer {
  if (bytes > MOST_KEPT_BYTES) return Buffer.allocUnsafeSlow(bytes);
  if (kept.length < bytes) kept = Buffer.allocUnsafeSlow(bytes);
  return kept.subarray(0, bytes);
}

/** @param bytes - if the value keeps them, all of their memory */
export function valueOf(bytes: Uint8Array, kind: PayloadKind): unknown {
  // A plain Uint8Array, and not Node's subclass of it.
  if (kind === "bytes") return new Uint8Array(bytes.buffer as ArrayBuffer);
  if (kind === "buffer") return Buffer.from(bytes.buffer);
  if (kind === "advanced") return deserialize(bytes);
  return parsePayload(decode(bytes as Buffer), kind);
}

/** Decodes UTF-8. For ASCII, the usual case, latin1 is some ten times as fast as Node's "utf8" (4 ms per MiB). */
function decode(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? "latin1" : "utf8");
}
