/**
 * Makes C allocations in children cheap. Memory freed by the fork server lies in small pieces all over its heap, and
 * glibc hands these out first: with nearly every piece, a child writes to another page, which the kernel then copies.
 * Once the pieces are used up, all allocations come from one place: 30 to 40 page faults fewer, of 390 for an item with
 * a timer and a file. This takes a quarter of a ms.
 */
import type { Libc } from "../libc.js";

const LARGE = [65_536, 32_768, 16_384, 8192, 4096, 2048, 1536];
/** All sizes of small pieces that glibc caches (tcache). */
const SMALL = Array.from({ length: 64 }, (_, i) => 1032 - 16 * i);
/** The cache holds at most 7 pieces of each size, which glibc does not count as free bytes. */
const CACHED_BYTES = 7 * SMALL.reduce((sum, bytes) => sum + bytes);

/**
 * Uses up the pieces, some 500 with 0.5 MiB, permanently. Called right before the first fork. With another allocator
 * (LD_PRELOAD), glibc reports almost no free bytes, so almost nothing is used up.
 */
export function packCHeap(libc: Libc): void {
  const heap = libc.heap();
  if (!heap) return;
  let left = heap.freeBytes + CACHED_BYTES;
  // From large to small, because glibc splits what is too large.
  for (const bytes of [...LARGE, ...SMALL]) {
    for (; left > 0; left -= bytes) {
      const piece = libc.allocate(bytes);
      if (piece >= heap.top) {
        libc.free(piece);
        break;
      }
    }
  }
}
