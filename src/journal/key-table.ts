/**
 * A map from keys (SHA-256 in base64url) to numbers, for millions of keys.
 *
 * A `Map` of strings took 135 bytes an entry, all of it traversed by the garbage collector, and holds at most 2 ** 24
 * entries. This table takes 30 to 60 bytes an entry and gives the garbage collector nothing to traverse.
 */

/** Characters of a key. */
export const KEY_LENGTH = 43;
const CHARS_PER_WORD = 5;
const KEY_WORDS = Math.ceil(KEY_LENGTH / CHARS_PER_WORD);
const FIRST_CAPACITY = 1024;

/** The six-bit value of each character of base64url; `NO_DIGIT` for all others. */
const NO_DIGIT = 64;
const DIGITS = new Uint8Array(256).fill(NO_DIGIT);
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
for (let i = 0; i < ALPHABET.length; i += 1) DIGITS[ALPHABET.charCodeAt(i)] = i;

export class KeyTable {
  #size = 0;
  /** The key of entry `i` begins at word `i * KEY_WORDS`. */
  #words = new Uint32Array(FIRST_CAPACITY * KEY_WORDS);
  #values = new Float64Array(FIRST_CAPACITY);
  /** A hash table with linear probing, twice the capacity in length: the number of an entry + 1, or 0 if free. */
  #slots = new Uint32Array(FIRST_CAPACITY * 2);
  readonly #chars = new Uint16Array(KEY_LENGTH);
  readonly #wanted = new Uint32Array(KEY_WORDS);

  get size(): number {
    return this.#size;
  }

  get(key: string): number | undefined {
    this.#wantString(key);
    const entry = this.#slots[this.#find()]!;
    return entry === 0 ? undefined : this.#values[entry - 1];
  }

  set(key: string, value: number): void {
    this.#wantString(key);
    this.#setWanted(value);
  }

  /** Sets the number of the key whose characters begin at `start` of `bytes`, without making a string. */
  setAt(bytes: Uint8Array, start: number, value: number): void {
    for (let i = 0; i < KEY_LENGTH; i += 1) this.#chars[i] = bytes[start + i]!;
    this.#want();
    this.#setWanted(value);
  }

  #wantString(key: string): void {
    if (key.length !== KEY_LENGTH) throw new TypeError(`"${key}" is no key`);
    for (let i = 0; i < KEY_LENGTH; i += 1) this.#chars[i] = key.charCodeAt(i);
    this.#want();
  }

  #want(): void {
    let all = 0;
    for (let word = 0, at = 0; word < KEY_WORDS; word += 1) {
      let bits = 0;
      for (const end = Math.min(at + CHARS_PER_WORD, KEY_LENGTH); at < end; at += 1) {
        const digit = DIGITS[this.#chars[at]!] ?? NO_DIGIT;
        all |= digit;
        bits = (bits << 6) | digit;
      }
      this.#wanted[word] = bits;
    }
    if (all >= NO_DIGIT) throw new TypeError(`"${String.fromCharCode(...this.#chars)}" is no key`);
  }

  #setWanted(value: number): void {
    let slot = this.#find();
    if (this.#slots[slot] === 0) {
      if (this.#size === this.#values.length) {
        this.#grow();
        slot = this.#find();
      }
      this.#words.set(this.#wanted, this.#size * KEY_WORDS);
      this.#size += 1;
      this.#slots[slot] = this.#size;
    }
    this.#values[this.#slots[slot]! - 1] = value;
  }

  /** Returns the slot of the wanted key, or the free one where it belongs. */
  #find(): number {
    const mask = this.#slots.length - 1;
    // The key is a SHA-256, so its bits are a good hash already.
    let slot = this.#wanted[0]! & mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === 0 || this.#isWanted(entry - 1)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isWanted(entry: number): boolean {
    const at = entry * KEY_WORDS;
    for (let i = 0; i < KEY_WORDS; i += 1) {
      if (this.#words[at + i] !== this.#wanted[i]) return false;
    }
    return true;
  }

  #grow(): void {
    const capacity = this.#values.length * 2;
    const words = new Uint32Array(capacity * KEY_WORDS);
    words.set(this.#words);
    this.#words = words;
    const values = new Float64Array(capacity);
    values.set(this.#values);
    this.#values = values;
    this.#slots = new Uint32Array(capacity * 2);
    const mask = this.#slots.length - 1;
    for (let entry = 0; entry < this.#size; entry += 1) {
      let slot = this.#words[entry * KEY_WORDS]! & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = entry + 1;
    }
  }
}
