/** The frames of a stack, without those of this library that are below the user's code. */

/** Bundled into a program, this file is one with the user's code, and bundlers make of `import.meta.url` what they like. */
const OWN_URL: string | undefined = import.meta.url;
const FOLDER = OWN_URL?.endsWith("/frames.js") ? OWN_URL.slice(0, -"frames.js".length) : undefined;
const OWN_FRAME =
  FOLDER &&
  new RegExp(`\n    at [^\n]*${FOLDER.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}[^\n]*`, "g");

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
  if (!FOLDER || !OWN_FRAME || !stack.includes(FOLDER)) return stack;
  return stack.replaceAll(OWN_FRAME, "");
}
