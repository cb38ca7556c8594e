/** The frames of a stack, without those of this library. */

/** A bundler merges this module with the user's code, and may replace `import.meta.url` with anything. */
const OWN_URL: string | undefined = import.meta.url;
/** Where this module is in dist/; scripts/bundle.mjs, which joins our modules, replaces it by the file it puts it into. */
const OWN_PLACE = "wire/stack-frames.js";

/** URL of the folder with the compiled files of this library, ending in a slash; `undefined` in a bundle. */
export const OWN_FOLDER = OWN_URL?.endsWith(`/${OWN_PLACE}`)
  ? OWN_URL.slice(0, -OWN_PLACE.length)
  : undefined;

const OWN_FRAME =
  OWN_FOLDER &&
  new RegExp(`\n    at [^\n]*${OWN_FOLDER.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}[^\n]*`, "g");

/** Returns the frames of `value.stack` as text, each after a line break; empty without frames or if it is no string. */
export function framesOf(value: unknown): string {
  const stack = stackOf(value);
  if (typeof stack !== "string") return "";
  const start = stack.indexOf("\n    at ");
  return start === -1 ? "" : withoutOwnFrames(stack.slice(start));
}

/** A thrown value may be a proxy or have a getter; an error in that code is ignored. */
function stackOf(value: unknown): unknown {
  try {
    return (value as { readonly stack?: unknown } | undefined)?.stack;
  } catch {
    return undefined;
  }
}

export function withoutOwnFrames(stack: string): string {
  if (!OWN_FOLDER || !OWN_FRAME || !stack.includes(OWN_FOLDER)) return stack;
  return stack.replaceAll(OWN_FRAME, "");
}
