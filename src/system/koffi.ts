/**
 * Loads koffi's binary without its JavaScript, where that is known to be the same: of the 11 ms that koffi takes to load,
 * 8 go into finding out which of its packages fits this machine.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as Koffi from "koffi";

/** The version whose JavaScript was read: around the binary it only adds deprecated functions. Others load as usual. */
const KNOWN_VERSION = "3.3.4";

/** For the arguments of calls; the defaults of 1 and 2 MiB would be part of every child. */
const CALL_BYTES = 64 * 1024;

let koffi: typeof Koffi | undefined;

/** @throws what `require` throws if koffi is not installed or has no binary for this platform */
export function loadKoffi(): typeof Koffi {
  return (koffi ??= configured());
}

function configured(): typeof Koffi {
  const require = createRequire(import.meta.url);
  const loaded = loadBinary(require) ?? (require("koffi") as typeof Koffi);
  try {
    loaded.config({ ...loaded.config(), sync_stack_size: CALL_BYTES, sync_heap_size: CALL_BYTES });
  } catch {
    // The worker's module, or another copy of this package, has made calls with it already.
  }
  return loaded;
}

function loadBinary(require: NodeJS.Require): typeof Koffi | undefined {
  const { platform, arch } = process;
  try {
    // There is another binary for musl.
    if (!/\/libc(\.so\.6|-2\.\d+\.so)$/m.test(readFileSync("/proc/self/maps", "latin1")))
      return undefined;
    // An installer may have put the package with the binary where only koffi finds it.
    const koffi = createRequire(require.resolve("koffi"))(
      `@koromix/koffi-${platform}-${arch}/${platform}_${arch}/koffi.node`,
    ) as typeof Koffi & { readonly version: string };
    return koffi.version === KNOWN_VERSION ? koffi : undefined;
  } catch {
    return undefined;
  }
}
