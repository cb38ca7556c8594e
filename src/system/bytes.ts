/** Whether a value is bytes. */
import { types } from "node:util";

/** Whether it is a `Uint8Array` of any realm; a Buffer is one. */
export function isBytes(value: unknown): value is Uint8Array {
  return types.isUint8Array(value);
}

/** Completes "it is ...", of what is `areGone`. */
export const GONE = "whose memory has been transferred";

/** Whether their memory has been transferred to another thread: they look like no bytes at all. */
export function areGone({ buffer }: ArrayBufferView): boolean {
  // Not the view's own length: a DataView of such memory throws when asked for it.
  return buffer.byteLength === 0 && isGone(buffer);
}

/** Whether this memory has been transferred. */
export function isGone(buffer: ArrayBufferLike): boolean {
  try {
    // Node 20 has no `buffer.detached`; no view of such memory can be made.
    Reflect.construct(Uint8Array, [buffer]);
    return false;
  } catch {
    return true;
  }
}
