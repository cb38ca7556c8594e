/** Large values that are created anew each time, so that the cost is the same for every contender. */
const LINE = "The quick brown fox jumps over the lazy dog, again and again, 0123456789.\n";

export function makeText(bytes) {
  // ASCII without characters that JSON escapes: the best case for a contender that sends JSON.
  return Buffer.alloc(bytes, LINE).toString("latin1");
}

export function makeBytes(bytes) {
  return new Uint8Array(Buffer.alloc(bytes, LINE).buffer);
}

export function measure(data) {
  return String(data.length);
}

export function flip(bytes) {
  bytes[0] ^= 255;
  return bytes;
}
