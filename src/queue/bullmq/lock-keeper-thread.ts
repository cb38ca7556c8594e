/** The thread of lock-keeper.ts: its own connection, and a loop that runs nothing else. */
import { parentPort, workerData } from "node:worker_threads";
import { monotonic } from "../../system/monotonic.js";
import { makeClient } from "./connect.js";
import { LockExtender } from "./lock-extender.js";
import type { FromKeeper, KeeperData, ToKeeper } from "./lock-keeper.js";
import { LockTable } from "./lock-table.js";

const { connection, prefix, retry, times, patience, locks } = workerData as KeeperData;
const port = parentPort!;
const say = (message: FromKeeper) => port.postMessage(message);

const table = new LockTable(locks);
let lastSign = monotonic();
const client = await makeClient(connection, { retry, holdsLoop: false });
const extender = new LockExtender(client, prefix, times, {
  onLost: (locks) => say({ status: "lost", locks }),
  others: () => table.read(),
  mayHold: () => monotonic() - lastSign < patience,
});
extender.start();
port.on("message", (message: ToKeeper) => {
  lastSign = monotonic();
  if (message.do === "take") extender.take(message.lock);
  else if (message.do === "drop") extender.drop(message.lock);
});
say({ status: "ready" });
