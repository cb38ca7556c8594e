/** Fills the memory of a fork server. */
const MEBIBYTE = 2 ** 20;
const BUFFER_BYTES = 8 * MEBIBYTE;
const OBJECTS_AT_ONCE = 10_000;

const held = [];

export function hold(how, mebibytes) {
  if (how === "buffers") holdBuffers(mebibytes * MEBIBYTE);
  else holdObjects(mebibytes * MEBIBYTE);
}

function holdBuffers(bytes) {
  for (let left = bytes; left > 0; left -= BUFFER_BYTES)
    held.push(Buffer.alloc(Math.min(left, BUFFER_BYTES), "x"));
}

/** On V8's heap, as a parsed table or a dictionary would be: 60 to 70 bytes each. */
function holdObjects(bytes) {
  const before = process.memoryUsage().heapUsed;
  for (let id = 0; process.memoryUsage().heapUsed - before < bytes; id += OBJECTS_AT_ONCE) {
    held.push(
      Array.from({ length: OBJECTS_AT_ONCE }, (_, i) => ({ id: id + i, next: { weight: i / 3 } })),
    );
  }
}
