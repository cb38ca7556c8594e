/** A child of `child_process.fork`: receives one item, sends one result and ends. */
import { flip, makeBytes, makeText } from "./payloads.mjs";
import { smallWork, waitAsync, waitSync } from "./stay.mjs";
import { work } from "./work.mjs";

const jobs = {
  ...work,
  makeText,
  makeBytes,
  flip,
  measure: (item) => String(item.length),
  synchronous: () => (smallWork(), waitSync()),
  asynchronous: () => (smallWork(), waitAsync()),
};

process.once("message", (message) => void answer(message));

async function answer({ kind, item }) {
  const result = await jobs[kind](item);
  // Ends at once: otherwise an idle keep-alive connection would make this contender look slow.
  process.send(result, () => process.exit());
}
