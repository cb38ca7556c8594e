/**
 * A line of a journal, one finished item:
 *
 *   <CRC-32 of the rest, 8 hex digits> <key> <kind><payload>
 *
 * Kind `j`: the result as JSON; `b`: bytes in base64; `a`: its structured clone in base64; `-`: no result was wanted. A result
 * too long for a line is in a file of its own, and the payload is the file's size and CRC-32: `T` (UTF-8), `J` (JSON), `B`
 * (bytes) or `A` (structured clone).
 */
import { crc32 } from "node:zlib";
import { isBytes } from "../system/bytes.js";
import { parse, stringify } from "../system/json.js";
import { deserialize, serialize } from "../wire/structured-clone.js";
import { KEY_LENGTH } from "./key-table.js";

/** Longer results (in characters or bytes) go to a file. Opening a journal reads every line, but no result file. */
const INLINE_LIMIT = 64 * 1024;
/** No line is longer: a character takes at most six bytes as JSON (`\u0000`). */
export const MAX_LINE_BYTES = 512 * 1024;

const CRC_DIGITS = 8;
/** Where the key begins in a line. */
export const KEY_AT = CRC_DIGITS + 1;
const KIND_AT = KEY_AT + KEY_LENGTH + 1;
const SPACE = 32;
/** The value of a byte as a hexadecimal digit; NaN for any other byte. */
const HEX: readonly number[] = Array.from({ length: 256 }, (_, byte) =>
  Number.parseInt(String.fromCharCode(byte), 16),
);
const KINDS = Buffer.from("jba-TJBA");

/** What a line records about its result file. */
export interface FileFacts {
  readonly kind: "T" | "J" | "B" | "A";
  readonly size: number;
  readonly crc: number;
}

/** The content of a line: a result, or the facts of the file that holds it. */
export type Recorded =
  | { readonly result: unknown; readonly file?: never }
  | { readonly file: FileFacts };

/**
 * Returns the kind and payload of a result, or the data to write to a file.
 *
 * @param isAdvanced - whether values other than texts and bytes are recorded by structured clone, and not as JSON
 */
export function encodeResult(
  result: unknown,
  isAdvanced = false,
): string | { kind: FileFacts["kind"]; data: Buffer } {
  if (result === undefined) return "-";
  // A Buffer stays one only by structured clone.
  if (isBytes(result) && !(isAdvanced && Buffer.isBuffer(result))) {
    return encodeBytes(result, "b", "B");
  }
  if (isAdvanced && typeof result !== "string") return encodeBytes(serialize(result), "a", "A");
  // A lone surrogate survives only as a JSON escape, so such a string does not become a UTF-8 file.
  if (typeof result === "string" && result.length > INLINE_LIMIT && result.isWellFormed()) {
    return { kind: "T", data: Buffer.from(result) };
  }
  const json = stringify(result);
  const isShort = (typeof result === "string" ? result : json).length <= INLINE_LIMIT;
  return isShort ? `j${json}` : { kind: "J", data: Buffer.from(json) };
}

function encodeBytes(bytes: Uint8Array, kind: "a" | "b", fileKind: "A" | "B") {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return data.length > INLINE_LIMIT
    ? { kind: fileKind, data }
    : `${kind}${data.toString("base64")}`;
}

export function describeFile(kind: FileFacts["kind"], data: Buffer): string {
  return `${kind}${data.length} ${crc32(data)}`;
}

/** @param content - the kind and the payload */
export function encodeLine(key: string, content: string): string {
  const rest = `${key} ${content}`;
  return `${crc32(rest).toString(16).padStart(CRC_DIGITS, "0")} ${rest}\n`;
}

/** Whether a line (without its newline) is exactly what was written. */
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

/** Decodes a line that `isWhole` has accepted. */
export function decodeLine(line: Buffer): Recorded {
  const kind = String.fromCharCode(line[KIND_AT]!);
  const payload = line.toString("utf8", KIND_AT + 1);
  switch (kind) {
    case "j":
      return { result: parse(payload) };
    case "b":
      return { result: new Uint8Array(Buffer.from(payload, "base64")) };
    case "a":
      return { result: deserialize(new Uint8Array(Buffer.from(payload, "base64"))) };
    case "-":
      return { result: undefined };
    default: {
      const [size, crc] = payload.split(" ").map(Number) as [number, number];
      return { file: { kind: kind as FileFacts["kind"], size, crc } };
    }
  }
}

/** Returns the result in a file; `undefined` if the file is not what was written. */
export function decodeFile(
  data: Buffer,
  { kind, size, crc }: FileFacts,
): { result: unknown } | undefined {
  if (data.length !== size || crc32(data) !== crc) return undefined;
  if (kind === "B") return { result: new Uint8Array(data) };
  if (kind === "A") return { result: deserialize(new Uint8Array(data)) };
  const text = data.toString("utf8");
  return { result: kind === "T" ? text : parse(text) };
}
