/** What a child does that the protocol does not know: it is killed for that, and what it was running fails with the reason. */
import { stringify } from "../system/json.js";

const EXCERPT_LENGTH = 100;

/** The child has not kept to the protocol; the message goes on from "its program" or "its child". */
export class Breach extends Error {}

/** The beginning of what a child has written, for a message. */
export function excerpt(value: unknown): string {
  const shown = Buffer.isBuffer(value) ? value.toString() : value;
  const text = (stringify(shown) as string | undefined) ?? "undefined";
  return text.length <= EXCERPT_LENGTH ? text : `${text.slice(0, EXCERPT_LENGTH)}...`;
}
