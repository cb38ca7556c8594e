/** BullMQ's sandboxed processor: it runs in a child of BullMQ's own. */
import { shout } from "./work.mjs";

export default async function (job) {
  return shout(job.data.text);
}
