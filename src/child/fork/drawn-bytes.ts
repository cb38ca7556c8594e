/**
 * The random bytes that were drawn before the fork and that somebody still holds: copied by a fork, they give every child the
 * same ids. Those of libraries that are known to draw ahead are drawn anew in each child. What is made of any others nobody
 * can tell: drawn anew, a key, a salt or data would no longer fit what was made with them. They keep children from being forked.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { OWN_FOLDER } from "../../wire/stack-frames.js";
import { collectGarbage } from "./collect-garbage.js";

/** By package: whether so many bytes are only there to make ids of, or to mask with. Read in the source of each. */
const POOLS: Readonly<Record<string, (bytes: number) => boolean>> = {
  // Marks the process, in each ObjectId; its UUIDs have 16.
  bson: (bytes) => bytes === 5,
  nanoid: (bytes) => bytes >= 128,
  uuid: () => true,
  // Masks of frames.
  ws: (bytes) => bytes >= 4096,
};
/** More are not looked after: to note one takes some 10 us, and keeps it from being collected for a while. */
const MAX_DRAWS = 4096;
/** Packages that count on from what they have drawn once, as a seed or a store of ids. */
const GENERATORS = new Set([
  "@faker-js/faker",
  "chance",
  "random-js",
  "seedrandom",
  "uid",
  "xid-js",
]);
/** So many are looked at: they seed themselves when they are loaded, and others may draw a million. */
const MAX_NUMBERS = 500;
const WASM_PAGE_BYTES = 65_536;

interface Draw {
  /** Gives nothing once nobody holds it any more. */
  readonly held: { deref(): object | undefined };
  /** Completes "... are held". */
  readonly what: string;
  readonly by: string | undefined;
  /** What each child draws anew, if it is a pool. */
  readonly pool?: (() => Uint8Array | undefined) | undefined;
}

/** A text has no identity: whether anybody holds it cannot be known. */
const FOR_EVER = { deref: () => draws };

const draws: Draw[] = [];
let noted = new WeakSet<object>();
let isRecording = false;
let numbers = 0;
let renewable: readonly Uint8Array[] = [];

const { randomFillSync } = crypto;

/** To be called before the worker's module is loaded: references it keeps are to those that note what they do. */
export function recordDraws(): void {
  isRecording = true;
  const { webcrypto } = crypto;
  noteMethod(crypto, "randomBytes", ({ results, by }) => note(results[0], by));
  noteMethod(crypto, "randomFillSync", ({ results, by }) => note(results[0], by));
  noteMethod(crypto, "randomFill", ({ args, by }) => note(args[0], by));
  const web = Object.getPrototypeOf(webcrypto) as object;
  noteMethod(web, "getRandomValues", ({ results, by }) => note(results[0], by));
  for (const name of ["generateKeySync", "generateKey", "generateKeyPairSync", "generateKeyPair"])
    noteMethod(crypto, name, ({ results, by }) => noteKey(results, by));
  const subtle = Object.getPrototypeOf(webcrypto.subtle) as object;
  noteMethod(subtle, "generateKey", ({ results, by }) => {
    (results[0] as Promise<unknown>).then(
      (key) => noteKey([key], by),
      () => {},
    );
  });
  for (const { prototype } of [crypto.DiffieHellman, crypto.ECDH])
    noteMethod(prototype, "generateKeys", ({ self, by }) => noteKey([self], by));
  syncBuiltinESMExports();
}

/**
 * To be called when the worker is loaded, in a turn of the event loop of its own: decides what each child draws anew.
 *
 * @returns what nobody can decide, as a clause; `undefined` when there is no such thing
 */
export function judgeDraws(): string | undefined {
  isRecording = false;
  const all = draws.splice(0);
  noted = new WeakSet();
  if (all.length >= MAX_DRAWS) {
    return `random bytes were drawn ${MAX_DRAWS} times, and all children may have the same; draw them in \`setup\``;
  }
  // Few have any; and what is held no more seems so until it is collected.
  if (all.some(({ pool }) => !pool)) collectGarbage("major");
  renewable = all.flatMap(({ pool }) => pool?.() ?? []);
  const other = all.find(({ held, pool }) => !pool && held.deref() !== undefined);
  if (!other) return undefined;
  const { what, by } = other;
  const who = by === undefined ? "" : ` that ${by} has drawn`;
  return `${what}${who}, and all children would have the same; draw them in \`setup\``;
}

/** To be called in a child, right after the fork. */
export function redraw(): void {
  for (const bytes of renewable) randomFillSync(bytes);
}

/** Somebody draws a number by `Math.random`. */
export function noteNumber(): void {
  if (!isRecording || numbers >= MAX_NUMBERS) return;
  numbers += 1;
  const by = caller();
  if (by !== undefined && GENERATORS.has(by)) noteGenerator(by);
}

function noteGenerator(by: string): void {
  push({ held: FOR_EVER, what: "the seed of a generator is held", by });
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

interface Called {
  readonly results: readonly unknown[];
  readonly args: readonly unknown[];
  readonly self: unknown;
  readonly by: string | undefined;
}

/** Has it tell what it has returned, or given to the callback that is its last argument. */
function noteMethod(owner: object, name: string, onResults: (called: Called) => void): void {
  const methods = owner as Record<string, Method>;
  const original = methods[name]!;
  const noting: Method = function (...args) {
    if (!isRecording) return Reflect.apply(original, this, args);
    const called = { args, self: this, by: caller() };
    const callback = args.at(-1);
    if (typeof callback !== "function") {
      const result = Reflect.apply(original, this, args);
      onResults({ ...called, results: [result] });
      return result;
    }
    const told = (error: unknown, ...results: unknown[]) => {
      if (!error) onResults({ ...called, results });
      (callback as Method)(error, ...results);
    };
    return Reflect.apply(original, this, [...args.slice(0, -1), told]);
  };
  // With those that tell `util.promisify` what its callback is given.
  const { prototype: _, ...properties } = Object.getOwnPropertyDescriptors(original) as Record<
    PropertyKey,
    PropertyDescriptor
  >;
  methods[name] = Object.defineProperties(noting, properties);
}

function note(target: unknown, by: string | undefined): void {
  if (typeof target !== "object" || target === null) return;
  if (by !== undefined && GENERATORS.has(by)) return noteGenerator(by);
  const holder = holderOf(target);
  // A pool that is filled again.
  if (noted.has(holder)) return;
  noted.add(holder);
  const { byteLength } = target as ArrayBufferView;
  const isPool = ArrayBuffer.isView(target) && POOLS[by ?? ""]?.(byteLength) === true;
  const pool = isPool ? poolOf(target, 0) : undefined;
  const held = isWasmMemory(holder) ? FOR_EVER : new WeakRef(holder);
  push({ held, what: `${byteLength} random bytes are held`, by, pool });
  if (isPool && by === "uuid") noteCopies(target as Uint8Array);
  if (!isPool && Buffer.isBuffer(target)) {
    noteText(target, by);
    noteParts(target, by);
  }
}

/** Of a pair the private one, which an object or an argument of its own tells apart. */
function noteKey(results: readonly unknown[], by: string | undefined): void {
  const [first, second] = results;
  const key = second ?? (first as { privateKey?: unknown } | undefined)?.privateKey ?? first;
  const held = typeof key === "object" && key !== null ? new WeakRef(key) : FOR_EVER;
  push({ held, what: "random bytes of a key are held", by });
}

function push(draw: Draw): void {
  if (isRecording && draws.length < MAX_DRAWS) draws.push(draw);
}

/** Mostly it marks the process: `randomBytes(8).toString("hex")`. */
function noteText(target: Buffer, by: string | undefined): void {
  const { toString } = target;
  Object.defineProperty(target, "toString", {
    value(...args: [BufferEncoding?, number?, number?]) {
      push({ held: FOR_EVER, what: `${target.byteLength} random bytes are held as a text`, by });
      return Reflect.apply(toString, target, args);
    },
    configurable: true,
    writable: true,
  });
}

/** What lives as long as the bytes may be used: their buffer, unless that is one of Node's, which many share. */
function holderOf(target: object): object {
  if (!ArrayBuffer.isView(target)) return target;
  const isShared = Buffer.isBuffer(target) && target.byteLength < target.buffer.byteLength;
  return isShared ? target : target.buffer;
}

/** Its bytes outlive the object, which is another one each time the memory grows. */
function isWasmMemory(holder: object): boolean {
  const bytes = holder instanceof ArrayBuffer ? holder.byteLength : 0;
  return bytes > 0 && bytes % WASM_PAGE_BYTES === 0;
}

/** Parts of one in a buffer of Node's live on without it. */
function noteParts(target: Buffer, by: string | undefined): void {
  for (const name of ["subarray", "slice"] as const) {
    // oxlint-disable-next-line typescript/unbound-method -- called with what it belongs to
    const original = target[name];
    Object.defineProperty(target, name, {
      value(...range: [number?, number?]) {
        const part = Reflect.apply(original, target, range);
        if (isRecording) note(part, by);
        return part;
      },
      configurable: true,
      writable: true,
    });
  }
}

function poolOf(view: ArrayBufferView, skipped: number): () => Uint8Array | undefined {
  const ref = new WeakRef(view);
  return () => {
    const held = ref.deref();
    return (
      held && new Uint8Array(held.buffer, held.byteOffset + skipped, held.byteLength - skipped)
    );
  };
}

/**
 * Also of what is copied out of it: uuid holds the last six bytes of the sixteen it has drawn, as the node of its v1. The first
 * of them stays: a bit in it says that the node is none of the network's.
 */
function noteCopies(target: Uint8Array): void {
  const { slice } = target;
  // A Buffer's shares its bytes.
  if (slice !== Uint8Array.prototype.slice) return;
  Object.defineProperty(target, "slice", {
    value(...range: [number?, number?]) {
      const copy = Reflect.apply(slice, target, range);
      if (isRecording && copy.byteLength > 1) {
        const what = `${copy.byteLength} random bytes are held`;
        push({ held: new WeakRef(copy), what, by: "uuid", pool: poolOf(copy, 1) });
        noteCopies(copy);
      }
      return copy;
    },
    configurable: true,
    writable: true,
  });
}

/** The package or file that has drawn them. */
function caller(): string | undefined {
  const frames = (new Error("drawn").stack ?? "").split("\n").slice(1);
  const file = frames
    .filter((frame) => !frame.includes("node:"))
    .map((frame) => /((?:file:\/\/)?\/[^:)]+):\d+:\d+\)?$/.exec(frame)?.[1])
    .find((each) => each !== undefined && !each.startsWith(OWN_FOLDER!));
  const [, name] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file ?? "") ?? [];
  return name ?? file?.split("/").at(-1);
}
