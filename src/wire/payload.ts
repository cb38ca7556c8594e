/**
 * How an item or a result becomes bytes in a scratch file, and back; both ends. A file is written whole before anything is
 * said of it, created exclusively and never through a link, so a half-written one is never read.
 */
import { isAscii } from "node:buffer";
import { closeSync, openSync, read, readSync, unlinkSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { parse, stringify } from "../system/json.js";

/** `text`: UTF-8; `bytes`: as they are; `json`: JSON in UTF-8. */
export type PayloadKind = "text" | "bytes" | "json";

/** What is to be written. */
export interface Payable {
  readonly kind: PayloadKind;
  readonly data: string | Uint8Array;
}

/** What was written, and how many bytes it has become. */
export interface Written {
  readonly kind: PayloadKind;
  readonly size: number;
}

/** A text, as text where UTF-8 can hold it: half a surrogate pair only survives as a JSON escape. */
export function payableText(text: string): Payable {
  return text.isWellFormed()
    ? { kind: "text", data: text }
    : { kind: "json", data: stringify(text) };
}

/** What a text of this kind stands for. */
export function parsePayload(text: string, kind: PayloadKind): unknown {
  return kind === "json" ? parse(text) : text;
}

/**
 * Writes a file.
 *
 * @param flag - makes it, or writes over one of our own: what was behind the new in that stays there, and is nothing
 */
export function writePayload(file: string, payable: Payable, flag: "wx" | "r+" = "wx"): Written {
  const fd = openSync(file, flag, 0o600);
  try {
    return putPayload(fd, payable, 0);
  } catch (error) {
    // What there was no room for makes room for others.
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

/** Writes into an open file, and moves nothing in it. */
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

/** Reads what was put at this position. */
export function getPayload(fd: number, { kind, size }: Written, position: number): unknown {
  const bytes = kind === "bytes" ? Buffer.allocUnsafeSlow(size) : memory(size);
  for (let at = 0; at < size;) {
    const count = readSync(fd, bytes, at, size - at, position + at);
    at += count === 0 ? ended(at, size) : count;
  }
  return valueOf(bytes, kind);
}

const readLater = promisify(read);

/** The same without holding up the event loop; only the turning into a string does. A text may be read into `room` that is there. */
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
 * A text is made UTF-8 so many characters at a time, always in the same memory: 1 MiB takes 0.06 ms so, and 0.5 ms where Node
 * makes a buffer of all of it (Node 20; 22 and 26 are alike).
 */
const PIECE_LENGTH = 128 * 1024;
const encoder = new TextEncoder();

function pieceFrom(text: string, at: number): string {
  const end = at + PIECE_LENGTH;
  // Both halves of a surrogate pair are encoded together.
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

/** Beyond it, memory is not kept. */
const MOST_KEPT_BYTES = 1024 * 1024;
let kept = Buffer.alloc(0);

/** Good until it is asked for again: fresh memory costs more than to fill it. */
function memory(bytes: number): Buffer {
  if (bytes > MOST_KEPT_BYTES) return Buffer.allocUnsafeSlow(bytes);
  if (kept.length < bytes) kept = Buffer.allocUnsafeSlow(bytes);
  return kept.subarray(0, bytes);
}

function valueOf(bytes: Buffer, kind: PayloadKind): unknown {
  // Of its own memory: what the worker returned, not Node's subclass of it.
  if (kind === "bytes") return new Uint8Array(bytes.buffer as ArrayBuffer);
  return parsePayload(decode(bytes), kind);
}

/** UTF-8; where it is ASCII, as it mostly is, some ten times as fast as what Node does with all of it (4 ms per MiB). */
function decode(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? "latin1" : "utf8");
}
