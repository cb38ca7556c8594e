/**
 * Renews the random state that fork(2) copies: otherwise all children would draw the same numbers. The functions are
 * replaced before the worker's module loads, which may keep references to them, and renewed on first use in a child.
 * `crypto.randomBytes` and `getRandomValues` need nothing: OpenSSL detects a fork by itself. drawn-bytes.ts handles
 * bytes drawn before the fork.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import vm from "node:vm";
import { noteNumber, redraw } from "./drawn-bytes.js";

/** Node buffers 128 UUIDs (lib/internal/crypto/random.js, kBatchSize): so many calls use up the buffer. */
const UUIDS_BUFFERED = 128;
/** `randomInt` buffers 6 KiB, 6 bytes per number. */
const INTS_BUFFERED = 1024;

let generation = 0;

/** Called in a child right after the fork. */
export function renewRandom(): void {
  generation += 1;
  redraw();
}

export function makeRandomRenewable(): void {
  const random = renewableMathRandom();
  Math.random = () => {
    noteNumber();
    return random();
  };
  const { createContext } = vm;
  // Each context has its own generator.
  vm.createContext = (...args: unknown[]) => {
    const isNew = !isContextified(args[0]);
    const context = Reflect.apply(createContext, vm, args) as vm.Context;
    const itsMath = vm.runInContext("Math", context) as typeof Math | undefined;
    if (isNew && itsMath && itsMath !== Math) itsMath.random = renewableMathRandom();
    return context;
  };

  const { randomUUID, randomInt } = crypto;
  // Since Node 24.
  const later = crypto as { randomUUIDv7?: (...args: unknown[]) => string };
  const { randomUUIDv7 } = later;
  crypto.randomUUID = renewable(() => {
    if (generation > 0) for (let i = 0; i < UUIDS_BUFFERED; i += 1) randomUUID();
    return randomUUID;
  });
  if (randomUUIDv7) {
    later.randomUUIDv7 = renewable(() => {
      // It draws from the same buffer, or from a similar one.
      const buffered = generation > 0 ? UUIDS_BUFFERED : 0;
      for (let i = 0; i < buffered; i += 1) {
        randomUUID();
        randomUUIDv7();
      }
      return randomUUIDv7;
    });
  }
  crypto.randomInt = renewable(() => {
    if (generation > 0) for (let i = 0; i < INTS_BUFFERED; i += 1) randomInt(2);
    return randomInt as (...args: unknown[]) => unknown;
  }) as typeof randomInt;
  syncBuiltinESMExports();

  // The web API shares the buffer of `crypto.randomUUID`.
  Object.defineProperty(Object.getPrototypeOf(globalThis.crypto), "randomUUID", {
    value: function () {
      return crypto.randomUUID();
    },
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

function renewableMathRandom(): () => number {
  return renewable(() => seededRandom(crypto.randomFillSync(new Uint32Array(4))));
}

function isContextified(value: unknown): boolean {
  return typeof value === "object" && value !== null && vm.isContext(value);
}

/** Returns a function that calls the one made by `make`, which is made again after a fork. */
function renewable<Args extends unknown[], Value>(
  make: () => (...args: Args) => Value,
): (...args: Args) => Value {
  let made = make();
  let madeIn = generation;
  return (...args) => {
    if (madeIn !== generation) {
      made = make();
      madeIn = generation;
    }
    return made(...args);
  };
}

/**
 * xoshiro128** by David Blackman and Sebastiano Vigna (https://prng.di.unimi.it/xoshiro128starstar.c, public domain),
 * two draws for the 53 bits of a double. V8's own generator cannot be seeded again from JavaScript.
 */
function seededRandom(seed: Uint32Array): () => number {
  let [a, b, c, d] = seed as unknown as [number, number, number, number];
  const next = () => {
    const scrambled = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return scrambled;
  };
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
