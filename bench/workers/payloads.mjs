/** Large values that are made anew each time, so that every contender pays for making them alike. */
const LINE = "The quick brown fox jumps over the lazy dog, again and again, 0123456789.\n";

export function makeText(bytes) {
  // ASCII without anything that JSON escapes: the easiest text there is for a peer that sends JSON.
  return Buffer.alloc(bytes, LINE).toString("latin1");
}

export function makeBytes(bytes) {
  return new Uint8Array(Buffer.alloc(bytes, LINE).buffer);
}

export function measure(text) {
  return String(text.length);
}
