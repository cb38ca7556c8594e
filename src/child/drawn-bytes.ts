/**
 * The random bytes that were drawn before the fork and that somebody still holds: copied by a fork, they give every child the
 * same ids. Those of libraries that are known to draw ahead are drawn anew in each child. What is made of any others nobody
 * can tell: drawn anew, a key, a salt or data would no longer fit what was made with them. They keep children from being forked.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
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

interface Draw {
  /** Alive while somebody holds the bytes. */
  readonly held: WeakRef<object>;
  readonly bytes: number;
  readonly by: string | undefined;
  /** What each child draws anew, if it is a pool. */
  readonly pool: (() => Uint8Array | undefined) | undefined;
}

const draws: Draw[] = [];
let noted = new WeakSet<object>();
let isRecording = false;
let renewable: readonly Uint8Array[] = [];

const { randomFillSync } = crypto;

/** To be called before the worker's module is loaded: references it keeps are to those that note what they do. */
export function recordDraws(): void {
  isRecording = true;
  const web = Object.getPrototypeOf(crypto.webcrypto) as object;
  noteMethod(crypto, "randomBytes", (result) => note(result));
  noteMethod(crypto, "randomFillSync", (result) => note(result));
  noteMethod(crypto, "randomFill", (_, [target]) => note(target));
  noteMethod(web, "getRandomValues", (result) => note(result));
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
  const { bytes, by } = other;
  const who = by === undefined ? "" : ` that ${by} has drawn`;
  return `${bytes} random bytes are held${who}, and all children would have the same; draw them in \`setup\``;
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
  const methods = owner as Record<string, Method>;
  const original = methods[name]!;
  const noting: Method = function (...args) {
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
  Object.defineProperties(noting, {
    name: { value: name },
    length: { value: original.length },
  });
  methods[name] = noting;
}

function note(target: unknown): void {
  if (!isRecording || typeof target !== "object" || target === null) return;
  const holder = holderOf(target);
  // A pool that is filled again.
  if (noted.has(holder) || draws.length >= MAX_DRAWS) return;
  noted.add(holder);
  const { byteLength: bytes } = target as ArrayBufferView;
  const by = caller();
  const isPool = ArrayBuffer.isView(target) && POOLS[by ?? ""]?.(bytes) === true;
  const pool = isPool ? poolOf(target, 0) : undefined;
  draws.push({ held: new WeakRef(holder), bytes, by, pool });
  if (isPool && by === "uuid") noteCopies(target as Uint8Array);
}

/** What lives as long as the bytes may be used: their buffer, unless that is one of Node's, which many share. */
function holderOf(target: object): object {
  if (!ArrayBuffer.isView(target)) return target;
  const isShared = Buffer.isBuffer(target) && target.byteLength < target.buffer.byteLength;
  return isShared ? target : target.buffer;
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
      if (isRecording && draws.length < MAX_DRAWS && copy.byteLength > 1) {
        const pool = poolOf(copy, 1);
        draws.push({ held: new WeakRef(copy), bytes: copy.byteLength, by: "uuid", pool });
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
    .map((frame) => /((?:file:\/\/)?\/[^:)]+):\d+:\d+\)?$/.exec(frame)?.[1])
    .find((each) => each !== undefined && !each.endsWith(OWN_FILE));
  const [, name] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file ?? "") ?? [];
  return name ?? file?.split("/").at(-1);
}

const OWN_FILE = import.meta.url.slice(import.meta.url.lastIndexOf("/"));
