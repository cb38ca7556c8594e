/**
 * A line of a journal, one finished item:
 *
 *   <CRC-32 of the rest, 8 hex digits> <key> <kind><payload>
 *
 * Kind `j`: the result as JSON; `b`: bytes in base64; `-`: no result was wanted. A result too long for a line lies in
 * a file of its own, with its size and CRC-32 for payload: `T` (UTF-8), `J` (JSON) or `B` (bytes).
 */
import { crc32 } from "node:zlib";
import { KEY_LENGTH } from "./key-table.js";
import { parse, stringify } from "../system/json.js";

/** A result goes into its line up to so many characters or bytes; opening a journal reads all lines and no file. */
const INLINE_LIMIT = 64 * 1024;
/** No line is longer: a character of a text takes six bytes at most (`\u0000`). */
export const MAX_LINE_BYTES = 512 * 1024;

const CRC_DIGITS = 8;
/** Where the key begins in a line. */
export const KEY_AT = CRC_DIGITS + 1;
const KIND_AT = KEY_AT + KEY_LENGTH + 1;
const SPACE = 32;
/** What a byte stands for as a hexadecimal digit. */
const HEX: readonly number[] = Array.from({ length: 256 }, (_, byte) =>
  Number.parseInt(String.fromCharCode(byte), 16),
);
const KINDS = Buffer.from("jb-TJB");

/** What a file holds that a line refers to. */
export interface FileFacts {
  readonly kind: "T" | "J" | "B";
  readonly size: number;
  readonly crc: number;
}

/** What a line says: a result, or in which kind of file to look for it. */
export type Recorded =
  | { readonly result: unknown; readonly file?: never }
  | { readonly file: FileFacts };

/** The kind and payload of a result, or what is to go into a file. */
export function encodeResult(result: unknown): string | { kind: FileFacts["kind"]; data: Buffer } {
  if (result === undefined) return "-";
  if (result instanceof Uint8Array) {
    const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
    return bytes.length > INLINE_LIMIT
      ? { kind: "B", data: bytes }
      : `b${bytes.toString("base64")}`;
  }
  // Half a surrogate pair only survives as a JSON escape.
  if (typeof result === "string" && result.length > INLINE_LIMIT && result.isWellFormed()) {
    return { kind: "T", data: Buffer.from(result) };
  }
  const json = stringify(result);
  const isShort = (typeof result === "string" ? result : json).length <= INLINE_LIMIT;
  return isShort ? `j${json}` : { kind: "J", data: Buffer.from(json) };
}

export function describeFile(kind: FileFacts["kind"], data: Buffer): string {
  return `${kind}${data.length} ${crc32(data)}`;
}

/** `content` is the kind and the payload. */
export function encodeLine(key: string, content: string): string {
  const rest = `${key} ${content}`;
  return `${crc32(rest).toString(16).padStart(CRC_DIGITS, "0")} ${rest}\n`;
}

/** Whether a line, without its end, is what was written. */
export function isWhole(line: Buffer): boolean {
  let crc = 0;
  for (let i = 0; i < CRC_DIGITS; i += 1) crc = crc * 16 + (HEX[line[i]!] ?? Number.NaN);
  return (
    crc === crc32(line.subarray(KEY_AT)) &&
    line[KEY_AT - 1] === SPACE &&
    line[KIND_AT - 1] === SPACE &&
    KINDS.includes(line[KIND_AT]!)
  );
}

/** What a line that has been found whole says. */
export function decodeLine(line: Buffer): Recorded {
  const kind = String.fromCharCode(line[KIND_AT]!);
  const payload = line.toString("utf8", KIND_AT + 1);
  switch (kind) {
    case "j":
      return { result: parse(payload) };
    case "b":
      return { result: new Uint8Array(Buffer.from(payload, "base64")) };
    case "-":
      return { result: undefined };
    default: {
      const [size, crc] = payload.split(" ").map(Number) as [number, number];
      return { file: { kind: kind as FileFacts["kind"], size, crc } };
    }
  }
}

/** The result in a file; `undefined` when that is not the file that was written. */
export function decodeFile(
  data: Buffer,
  { kind, size, crc }: FileFacts,
): { result: unknown } | undefined {
  if (data.length !== size || crc32(data) !== crc) return undefined;
  if (kind === "B") return { result: new Uint8Array(data) };
  const text = data.toString("utf8");
  return { result: kind === "T" ? text : parse(text) };
}
