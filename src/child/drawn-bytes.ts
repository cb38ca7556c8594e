/**
 * The random bytes that were drawn before the fork and that somebody still holds. Libraries draw them ahead into a pool, or once
 * to tell their process from others (nanoid, uuid, bson, ws): copied by a fork, they give every child the same ids. They are
 * drawn anew in each child; but not a key that something may have been made with, which would no longer fit. What may be
 * the one or the other keeps children from being forked.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Keys have so many bytes, and what they are used with has fewer: where a secret is at stake a key is, too. Other draws are
 * smaller, or pools: bson draws 5, uuid 16, nanoid 2,688, ws 8,192.
 */
const SECRET_BYTES = { min: 24, max: 64 };
/**
 * What `randomBytes` makes is a token, a salt or a key from so many bytes on; pools are larger, and bson's 5 mark its process.
 * Libraries that draw the same few bytes again and again (uuid: 16) fill an array of their own.
 */
const TOKEN_BYTES = 8;
/** More are data to work on. */
const MAX_BYTES = 256 * 1024;
/** What has been changed more than so far is not what was drawn any more; uuid sets one bit in six bytes. */
const MAX_CHANGED = 0.25;
/** To forget what has been collected meanwhile: a `preload` may draw a million times. */
const SWEEP_AT = 1024;
/** Of so many draws it is noted who has drawn them, which takes some 10 us. */
const MAX_NAMED = 100;

interface Draw {
  readonly buffer: WeakRef<ArrayBufferLike>;
  readonly start: number;
  /** As they were drawn. */
  readonly bytes: Uint8Array;
  /** Who has drawn them, where that may have to be told. */
  readonly by: string | undefined;
  /** By `randomBytes`, and not into an array of the caller's. */
  readonly isMade: boolean;
  /** Something has been made with all of them. */
  isUsed: boolean;
}

type View = ArrayBufferView;

const draws = new Set<Draw>();
/** By their place in it. */
let byBuffer = new WeakMap<ArrayBufferLike, Map<number, Draw>>();
let isRecording = false;
let sweepAt = SWEEP_AT;
let named = 0;
let renewable: readonly Uint8Array[] = [];

const { randomFillSync } = crypto;

/** To be called before the worker's module is loaded: references it keeps are to those that note what they do. */
export function recordDraws(): void {
  isRecording = true;
  const { webcrypto } = crypto;
  const web = Object.getPrototypeOf(webcrypto) as object;
  noteMethod(crypto, "randomBytes", (result) => note(result, { isMade: true }));
  for (const [owner, name] of [
    [crypto, "randomFillSync"],
    [web, "getRandomValues"],
  ] as const) {
    noteMethod(owner, name, (result) => note(result));
  }
  noteMethod(crypto, "randomFill", (_, [target]) => note(target));
  for (const [owner, names] of [
    [crypto, KEYED],
    [Object.getPrototypeOf(webcrypto.subtle) as object, KEYED_SUBTLE],
    [crypto.Hash.prototype, ["update"]],
    [crypto.Hmac.prototype, ["update"]],
  ] as const) {
    for (const name of names) noteMethod(owner, name, (_, args) => noteUse(args));
  }
  syncBuiltinESMExports();
}

/** What takes bytes to make something of them. */
const KEYED = [
  "createCipheriv",
  "createDecipheriv",
  "createHmac",
  "createSecretKey",
  "hash",
  "hkdf",
  "hkdfSync",
  "pbkdf2",
  "pbkdf2Sync",
  "scrypt",
  "scryptSync",
  "sign",
  "verify",
];
const KEYED_SUBTLE = [
  "decrypt",
  "deriveBits",
  "deriveKey",
  "digest",
  "encrypt",
  "importKey",
  "sign",
  "verify",
];

/**
 * To be called when the worker is loaded, in a turn of the event loop of its own: decides what each child draws anew.
 *
 * @returns what nobody can decide, as a clause; `undefined` when there is no such thing
 */
export function judgeDraws(): string | undefined {
  isRecording = false;
  // Few have any; and what was only drawn to make a text of it is not held, but seems so until it is collected.
  if ([...draws].some(maySecret)) collectGarbage();
  const held = [...draws].flatMap((draw) => {
    const unchanged = unchangedIn(draw);
    return unchanged.length > 0 ? [{ draw, unchanged }] : [];
  });
  const free = held.filter(({ draw }) => !draw.isUsed);
  const secret = free.find(({ draw }) => maySecret(draw))?.draw;
  renewable = free.flatMap(({ draw, unchanged }) => (maySecret(draw) ? [] : unchanged));
  draws.clear();
  byBuffer = new WeakMap();
  return (
    secret &&
    `${secret.bytes.length} random bytes are held${secret.by === undefined ? "" : ` that ${secret.by} has drawn`}, ` +
      "and all children would have the same; draw them in `setup`"
  );
}

/** To be called in a child, right after the fork. */
export function redraw(): void {
  for (const bytes of renewable) randomFillSync(bytes);
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Has it tell what it has returned, or given to the callback that is its last argument. */
function noteMethod(
  owner: object,
  name: string,
  onResult: (result: unknown, args: readonly unknown[]) => void,
): void {
  const methods = owner as Record<string, Method | undefined>;
  const original = methods[name];
  if (!original) return;
  const noted: Method = function (...args) {
    if (!isRecording) return Reflect.apply(original, this, args);
    const callback = args.at(-1);
    if (typeof callback !== "function") {
      const result = Reflect.apply(original, this, args);
      onResult(result, args);
      return result;
    }
    const told = (error: unknown, result: unknown) => {
      if (!error) onResult(result, args);
      (callback as Method)(error, result);
    };
    return Reflect.apply(original, this, [...args.slice(0, -1), told]);
  };
  Object.defineProperty(noted, "name", { value: name });
  methods[name] = noted;
}

function note(target: unknown, { isCopy = false, isMade = false } = {}): void {
  if (!isRecording || !isView(target)) return;
  // Of a copy the first byte stays: uuid marks there that the node of a UUID is none of the network's.
  const skipped = isCopy ? 1 : 0;
  const { buffer, byteOffset, byteLength } = target;
  if (byteLength <= skipped || byteLength > MAX_BYTES) return;
  const start = byteOffset + skipped;
  const bytes = new Uint8Array(buffer, start, byteLength - skipped).slice();
  const draw: Draw = {
    buffer: new WeakRef(buffer),
    start,
    bytes,
    by: caller(byteLength, isMade),
    isMade,
    isUsed: false,
  };
  const others = byBuffer.get(buffer) ?? new Map<number, Draw>();
  byBuffer.set(buffer, others);
  const before = others.get(byteOffset);
  if (before) draws.delete(before);
  others.set(byteOffset, draw);
  draws.add(draw);
  if (draws.size >= sweepAt) sweep();
  noteCopies(target);
}

/** Also of what is copied out of it: uuid holds a part of the bytes it has drawn. */
function noteCopies(target: View): void {
  const { slice } = target as Uint8Array;
  // A Buffer's shares its bytes.
  if (slice !== Uint8Array.prototype.slice) return;
  Object.defineProperty(target, "slice", {
    value(...range: [number?, number?]) {
      const copy = Reflect.apply(slice, target, range) as Uint8Array;
      note(copy, { isCopy: true });
      return copy;
    },
    configurable: true,
    writable: true,
  });
}

function noteUse(args: readonly unknown[]): void {
  for (const given of args) {
    const used = isView(given)
      ? [given]
      : Object.values(given && typeof given === "object" ? given : {});
    for (const view of used.filter(isView)) {
      const draw = byBuffer.get(view.buffer)?.get(view.byteOffset);
      // A part of a pool may well be a key; the pool is none.
      if (draw && view.byteLength >= draw.bytes.length) draw.isUsed = true;
    }
  }
}

function isView(value: unknown): value is View {
  return ArrayBuffer.isView(value);
}

function maySecret({ bytes, isMade }: Draw): boolean {
  const min = isMade ? TOKEN_BYTES : SECRET_BYTES.min;
  return bytes.length >= min && bytes.length <= SECRET_BYTES.max;
}

function sweep(): void {
  for (const draw of draws) if (!draw.buffer.deref()) draws.delete(draw);
  sweepAt = Math.max(SWEEP_AT, 2 * draws.size);
}

/** The parts of it that are as they were drawn; none when it is held no more, or holds something else by now. */
function unchangedIn({ buffer, start, bytes }: Draw): Uint8Array[] {
  const held = buffer.deref();
  if (!held || held.byteLength < start + bytes.length) return [];
  const now = new Uint8Array(held, start, bytes.length);
  const changed = bytes.filter((byte, at) => byte !== now[at]).length;
  if (changed > bytes.length * MAX_CHANGED) return [];
  const parts: Uint8Array[] = [];
  for (let from = 0; from < bytes.length;) {
    let to = from;
    while (to < bytes.length && bytes[to] === now[to]) to += 1;
    if (to > from) parts.push(now.subarray(from, to));
    from = to + 1;
  }
  return parts;
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  setFlagsFromString("--no-expose-gc");
}

/** The package or file that has drawn them. */
function caller(bytes: number, isMade: boolean): string | undefined {
  const min = isMade ? TOKEN_BYTES : SECRET_BYTES.min;
  if (bytes < min || bytes > SECRET_BYTES.max + 1 || named >= MAX_NAMED) return undefined;
  named += 1;
  const frames = (new Error("drawn").stack ?? "").split("\n").slice(1);
  const file = frames
    .map((frame) => /((?:file:\/\/)?\/[^:)]+):\d+:\d+\)?$/.exec(frame)?.[1])
    .find((each) => each !== undefined && !each.endsWith(OWN_FILE));
  const [, name] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file ?? "") ?? [];
  return name ?? file?.split("/").at(-1);
}

const OWN_FILE = import.meta.url.slice(import.meta.url.lastIndexOf("/"));
