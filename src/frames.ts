/** The frames of a stack, without those of this library that are below the user's code. */

/** Only of a file of its own name: bundled into a program, this is one with the user's code. */
const isOwnFile = import.meta.url.endsWith("/frames.js");
const FOLDER = new URL(".", import.meta.url).href;
const OWN_FRAME = new RegExp(
  `\n    at [^\n]*${FOLDER.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}[^\n]*`,
  "g",
);

/** As text, each on a line of its own that begins with a line break. Empty where there are none, or they are no text. */
export function framesOf({ stack }: { readonly stack?: unknown }): string {
  if (typeof stack !== "string") return "";
  const start = stack.indexOf("\n    at ");
  return start === -1 ? "" : withoutOwnFrames(stack.slice(start));
}

export function withoutOwnFrames(stack: string): string {
  if (!isOwnFile || !stack.includes(FOLDER)) return stack;
  return stack.replaceAll(OWN_FRAME, "");
}
