/**
 * How an item or a result becomes the bytes of a scratch file, and back; both ends. A file is written whole before
 * anything is said of it, created exclusively and never through a link, so a half-written one is never read.
 */
import { isAscii } from "node:buffer";
import { open, unlink } from "node:fs/promises";
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";

/** `text`: UTF-8; `bytes`: as they are; `json`: JSON in UTF-8. */
export type PayloadKind = "text" | "bytes" | "json";

/** What was written, and how many bytes it has become. */
export interface Written {
  readonly kind: PayloadKind;
  readonly size: number;
}

/**
 * Up to this many bytes a file is read in one synchronous go (about 30 us, where a round trip through the thread pool
 * costs 100 and more); beyond it the copy would hold up the event loop.
 */
const SYNC_LIMIT_BYTES = 1024 * 1024;

/** Writes a text, as text where UTF-8 can hold it: half a surrogate pair only survives as a JSON escape. */
export function writeText(file: string, text: string): Written {
  return text.isWellFormed()
    ? write(file, "text", text)
    : write(file, "json", JSON.stringify(text));
}

export function writeBytes(file: string, bytes: Uint8Array): Written {
  return write(file, "bytes", bytes);
}

export function writeJson(file: string, json: string): Written {
  return write(file, "json", json);
}

function write(file: string, kind: PayloadKind, data: string | Uint8Array): Written {
  const fd = openSync(file, "wx", 0o600);
  try {
    return { kind, size: put(fd, data) };
  } catch (error) {
    // What there was no room for makes room for others.
    unlinkSync(file);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Writes all of it, and tells how many bytes that were. */
function put(fd: number, data: string | Uint8Array): number {
  if (typeof data !== "string") return putBytes(fd, data);
  let size = 0;
  for (let at = 0; at < data.length;) {
    const piece = pieceFrom(data, at);
    at += piece.length;
    size += putBytes(fd, encode(piece));
  }
  return size;
}

function putBytes(fd: number, bytes: Uint8Array): number {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  return bytes.length;
}

/**
 * A text is made UTF-8 so many characters at a time, always in the same memory: 1 MiB takes 0.06 ms so, and 0.5 ms where Node
 * makes a buffer of all of it (Node 20; 22 and 26 are alike).
 */
const PIECE_LENGTH = 128 * 1024;
const encoder = new TextEncoder();
let encoded = Buffer.alloc(0);

function pieceFrom(text: string, at: number): string {
  const end = at + PIECE_LENGTH;
  // Both halves of a surrogate pair are encoded together.
  const isInPair = end < text.length && isHighSurrogate(text.charCodeAt(end - 1));
  return text.slice(at, isInPair ? end - 1 : end);
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}

/** Good until the next one is encoded. */
function encode(text: string): Uint8Array {
  const most = 3 * text.length;
  if (encoded.length < most) encoded = Buffer.allocUnsafeSlow(most);
  return encoded.subarray(0, encoder.encodeInto(text, encoded).written);
}

/** Reads what one of the writers wrote and removes the file. */
export function takePayload(file: string, kind: PayloadKind, size: number): unknown {
  if (size > SYNC_LIMIT_BYTES) return takeLargePayload(file, kind);
  const value = readPayload(file, kind);
  unlinkSync(file);
  return value;
}

export function readPayload(file: string, kind: PayloadKind): unknown {
  if (kind === "bytes") return asUint8Array(readFileSync(file));
  return parsePayload(decode(readFileSync(file)), kind);
}

/** What a text of this kind stands for. */
export function parsePayload(text: string, kind: PayloadKind): unknown {
  return kind === "json" ? JSON.parse(text) : text;
}

/** UTF-8; where it is ASCII, as it mostly is, some ten times as fast as what Node does with all of it (4 ms per MiB). */
function decode(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? "latin1" : "utf8");
}

async function takeLargePayload(file: string, kind: PayloadKind): Promise<unknown> {
  const handle = await open(file, "r");
  let bytes: Buffer;
  try {
    // One buffer of the right size: `readFile` grows in 512 KiB steps, each a turn of the event loop.
    bytes = Buffer.allocUnsafeSlow((await handle.stat()).size);
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await handle.read(bytes, at, bytes.length - at, at);
      if (bytesRead === 0) throw new Error(`${file} ended after ${at} of ${bytes.length} bytes`);
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
  await unlink(file);
  if (kind === "bytes") return asUint8Array(bytes);
  return parsePayload(decode(bytes), kind);
}

/** A plain Uint8Array over memory of its own: what the worker returned, not Node's pooled subclass. */
function asUint8Array(buffer: Buffer): Uint8Array {
  return buffer.byteLength === buffer.buffer.byteLength
    ? new Uint8Array(buffer.buffer as ArrayBuffer)
    : new Uint8Array(buffer);
}
