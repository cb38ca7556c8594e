/**
 * Random state that fork(2) copies: without care all children draw the same numbers. Everything is replaced before the
 * worker's module loads, so that references it keeps are the renewed ones, and renewed on first use in a child.
 * `crypto.randomBytes` and `getRandomValues` need nothing: OpenSSL notices a fork by itself. What they have drawn before it is
 * the business of drawn-bytes.ts.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import vm from "node:vm";
import { noteNumber, redraw } from "./drawn-bytes.js";

/** Node hands out UUIDs from a buffer of 128 (lib/internal/crypto/random.js, kBatchSize); so many calls use it up. */
const UUIDS_BUFFERED = 128;
/** ... and `randomInt` from 6 KiB, 6 bytes each. */
const INTS_BUFFERED = 1024;

let generation = 0;

/** To be called in a child, right after the fork. */
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
  // Each has a generator of its own.
  vm.createContext = (...args: unknown[]) => {
    const isNew = !isContextified(args[0]);
    const context = Reflect.apply(createContext, vm, args) as vm.Context;
    const itsMath = vm.runInContext("Math", context) as typeof Math | undefined;
    if (isNew && itsMath && itsMath !== Math) itsMath.random = renewableMathRandom();
    return context;
  };

  const { randomUUID, randomInt } = crypto;
  // From Node 24 on.
  const later = crypto as { randomUUIDv7?: (...args: unknown[]) => string };
  const { randomUUIDv7 } = later;
  crypto.randomUUID = renewable(() => {
    if (generation > 0) for (let i = 0; i < UUIDS_BUFFERED; i += 1) randomUUID();
    return randomUUID;
  });
  if (randomUUIDv7) {
    later.randomUUIDv7 = renewable(() => {
      // It draws from the same buffer, or from one like it.
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

/** A function made by `make`, made again when the process has been forked since. */
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
