/** Violations of the protocol by a child: the parent kills the child, and its running items fail with the reason. */
import { stringify } from "../system/json.js";

const EXCERPT_LENGTH = 100;

/** The child violated the protocol; the message continues "its program ..." or "its child ...". */
export class Breach extends Error {}

/** Returns the beginning of a value that a child has written, for a message. */
export function excerpt(value: unknown): string {
  const shown = Buffer.isBuffer(value) ? value.toString() : value;
  const text = (stringify(shown) as string | undefined) ?? "undefined";
  return text.length <= EXCERPT_LENGTH ? text : `${text.slice(0, EXCERPT_LENGTH)}...`;
}
