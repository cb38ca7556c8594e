/** The frames of a stack, without those of this library that are below the user's code. */

/** A bundler makes one file of this module and the user's code, and may put anything in place of `import.meta.url`. */
const OWN_URL: string | undefined = import.meta.url;
const OWN_PLACE = "wire/stack-frames.js";

/** URL of the folder with the compiled files of this library, ending in a slash; `undefined` in a bundle. */
export const OWN_FOLDER = OWN_URL?.endsWith(`/${OWN_PLACE}`)
  ? OWN_URL.slice(0, -OWN_PLACE.length)
  : undefined;

const OWN_FRAME =
  OWN_FOLDER &&
  new RegExp(`\n    at [^\n]*${OWN_FOLDER.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}[^\n]*`, "g");

/** As text, each on a line of its own that begins with a line break. Empty where there are none, or they are no text. */
export function framesOf(value: unknown): string {
  const stack = stackOf(value);
  if (typeof stack !== "string") return "";
  const start = stack.indexOf("\n    at ");
  return start === -1 ? "" : withoutOwnFrames(stack.slice(start));
}

/** What is thrown may be a proxy, or have a getter: that its own code throws is no second error. */
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
