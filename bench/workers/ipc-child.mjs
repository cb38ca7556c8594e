/** A child of `child_process.fork`: one item comes, one result goes, the process ends. */
import { makeBytes, makeText } from "./payloads.mjs";
import { smallWork, waitAsync, waitSync } from "./stay.mjs";
import { work } from "./work.mjs";

const jobs = {
  ...work,
  makeText,
  makeBytes,
  measure: (item) => String(item.length),
  synchronous: () => (smallWork(), waitSync()),
  asynchronous: () => (smallWork(), waitAsync()),
};

process.once("message", (message) => void answer(message));

async function answer({ kind, item }) {
  const result = await jobs[kind](item);
  // Not left to end by itself: an idle keep-alive connection must not make the peer look slow.
  process.send(result, () => process.exit());
}
