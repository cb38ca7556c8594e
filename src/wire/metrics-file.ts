/**
 * The file in which one num of a container or pool keeps its metrics: entries of the same size, which its child maps and adds to, and which the supervisor
 * reads. It outlives the child, so that counters go on with the next one, and costs no message.
 *
 *   header of 1280 bytes           │ entry 0 │ entry 1 │ ...     of 256 bytes each
 *   magic, count of entries, owner   value, type, flags, name, help
 */

import { stringify } from "../system/json.js";
import { objectIn } from "./lines.js";

const ENTRY_BYTES = 256;
const MAX_ENTRIES = 63;
const HEADER_BYTES = 5 * ENTRY_BYTES;
export const METRICS_BYTES = HEADER_BYTES + MAX_ENTRIES * ENTRY_BYTES;

/** Of the header: written last, so that it is not there before the rest is. */
const MAGIC = 0x666f726c;
const COUNT_AT = 4;
/** When the child was measured last, on the monotonic clock in ms: long ago if its loop is blocked. */
const MEASURED_AT = 8;
/** An idle child measures itself at least so often, another once a second. */
export const LONGEST_TICK_MS = 2000;
/** Of the header: whose they are, as JSON. */
const OWNER_LENGTH_AT = 6;
/** Of an entry. */
const TYPE_AT = 8;
const FLAGS_AT = 9;
const NAME_LENGTH_AT = 10;
const HELP_LENGTH_AT = 11;
const TEXT_AT = 16;
export const LONGEST_NAME = 80;
const LONGEST_HELP = ENTRY_BYTES - TEXT_AT - LONGEST_NAME;
const BY_NUM = 1;
const COUNTER = 1;
const GAUGE = 2;
const WORD_BYTES = Float64Array.BYTES_PER_ELEMENT;
/** Of an owner, in characters: both fit into the header. */
const LONGEST_OWNER = 150;

export type MetricType = "counter" | "gauge";

/** What is fixed about a metric. */
export interface MetricDefinition {
  readonly name: string;
  readonly type: MetricType;
  /** What it is, for people. */
  readonly help: string;
  /** Whether each num is shown by itself; else the sum of all. */
  readonly byNum: boolean;
}

export interface Metric extends MetricDefinition {
  readonly value: number;
}

/** The content of a file: at most one process writes at a time. */
export class MetricsMemory {
  /** The value of the metric at a place is `values[place]`. */
  readonly values: Float64Array;
  readonly #bytes: Buffer;
  readonly #places = new Map<string, number>();

  /** @param memory - METRICS_BYTES; blank, or what another child has left */
  constructor(memory: ArrayBuffer) {
    this.#bytes = Buffer.from(memory);
    this.values = new Float64Array(memory);
    const known = readMetrics(this.#bytes);
    if (!known) this.#bytes.fill(0);
    for (const [i, { name, type }] of (known ?? []).entries()) {
      const place = placeOf(i);
      this.#places.set(name, place);
      // Of a child that has ended.
      if (type === "gauge") this.values[place] = 0;
    }
    this.#bytes.writeUInt32LE(MAGIC, 0);
  }

  /** The child is measured now, at this time of the monotonic clock. */
  measured(now: number): void {
    this.values[MEASURED_AT / WORD_BYTES] = now;
  }

  /** Notes whose metrics these are, for who finds the file after its run has ended. */
  own(owner: { readonly name: string; readonly pool: string | undefined }): void {
    const [name, pool] = [owner.name, owner.pool].map((text) => text?.slice(0, LONGEST_OWNER));
    const length = this.#bytes.write(stringify({ name, pool }), TEXT_AT, HEADER_BYTES - TEXT_AT);
    this.#bytes.writeUInt16LE(length, OWNER_LENGTH_AT);
  }

  /** The bytes in use. */
  get used(): Buffer {
    return this.#bytes.subarray(0, entryAt(this.#count));
  }

  get #count(): number {
    return this.#bytes.readUInt16LE(COUNT_AT);
  }

  /** Returns where the value of a metric is, which is added if it is new; undefined if there is no more room. */
  place({ name, type, help, byNum }: MetricDefinition): number | undefined {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const entry = this.#count;
    if (entry >= MAX_ENTRIES) return undefined;
    const bytes = this.#bytes.subarray(entryAt(entry), entryAt(entry + 1));
    const nameLength = bytes.write(name, TEXT_AT, LONGEST_NAME);
    bytes[NAME_LENGTH_AT] = nameLength;
    bytes[HELP_LENGTH_AT] = bytes.write(help, TEXT_AT + nameLength, LONGEST_HELP);
    bytes[TYPE_AT] = type === "counter" ? COUNTER : GAUGE;
    bytes[FLAGS_AT] = byNum ? BY_NUM : 0;
    // Now readers may see it.
    this.#bytes.writeUInt16LE(entry + 1, COUNT_AT);
    const place = placeOf(entry);
    this.#places.set(name, place);
    return place;
  }
}

function entryAt(entry: number): number {
  return HEADER_BYTES + entry * ENTRY_BYTES;
}

/** Index of its value among all words of the file. */
function placeOf(entry: number): number {
  return entryAt(entry) / WORD_BYTES;
}

/** Returns whose metrics they are; undefined if the file does not tell. */
export function ownerIn(
  bytes: Buffer,
): { readonly name: string; readonly pool?: string } | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const end = TEXT_AT + Math.min(bytes.readUInt16LE(OWNER_LENGTH_AT), HEADER_BYTES - TEXT_AT);
  const owner = objectIn(bytes.toString("utf8", TEXT_AT, end));
  const { name, pool } = owner ?? {};
  const isOwner = typeof name === "string" && (pool === undefined || typeof pool === "string");
  return isOwner ? (owner as { name: string; pool?: string }) : undefined;
}

/** Returns when the child was measured last. */
export function measuredAt(bytes: Buffer): number {
  return bytes.readDoubleLE(MEASURED_AT);
}

/** Returns the metrics in the bytes of a file; `undefined` if that is what they are not. */
export function readMetrics(bytes: Buffer): Metric[] | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return undefined;
  const room = Math.floor((bytes.length - HEADER_BYTES) / ENTRY_BYTES);
  return Array.from({ length: Math.min(bytes.readUInt16LE(COUNT_AT), room) }, (_, i) => {
    const entry = bytes.subarray(entryAt(i), entryAt(i + 1));
    const nameEnd = TEXT_AT + Math.min(entry[NAME_LENGTH_AT]!, LONGEST_NAME);
    return {
      value: entry.readDoubleLE(0),
      type: entry[TYPE_AT] === GAUGE ? "gauge" : "counter",
      byNum: (entry[FLAGS_AT]! & BY_NUM) !== 0,
      name: entry.toString("utf8", TEXT_AT, nameEnd),
      help: entry.toString("utf8", nameEnd, nameEnd + entry[HELP_LENGTH_AT]!),
    };
  });
}

/** Whose metrics they are. */
export interface MetricsOwner {
  readonly run: string;
  readonly num: number;
  /** A num that is given back may go to another service, whose metrics are not the same. */
  readonly name: string;
}

export function metricsPath(directory: string, owner: MetricsOwner): string {
  return `${directory}/${metricsFile(owner)}`;
}

export function metricsFile({ run, num, name }: MetricsOwner): string {
  const plain = name.replaceAll(/[^A-Za-z0-9_]/g, "_").slice(0, LONGEST_NAME);
  // Names that differ only in what is no part of the file's.
  return `metrics-${run}-${num}-${plain === name ? name : `${plain}_${hashOf(name)}`}`;
}

/** FNV-1a of 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16);
}

/** Run and num in the name of such a file. */
export const METRICS_FILE = /^metrics-((\d+)-\d+)-(\d+)-\w*$/;
