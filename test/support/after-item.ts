/** Creates a file once an attempt at an item has ended: a child that waits for the file continues after that attempt. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { writeFileSync } from "node:fs";
import { afterEach } from "vitest";

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** Returns a function that removes the subscription before the test is over. */
export function makesAfter(index: number, file: string): () => void {
  const onItem = (message: unknown) => {
    if ((message as { index: number }).index === index) writeFileSync(file, "");
  };
  subscribe("forkmap:item", onItem);
  const stop = () => void unsubscribe("forkmap:item", onItem);
  stops.push(stop);
  return stop;
}
