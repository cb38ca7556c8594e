/** Creates a directory for one test and removes it after the test. */
import { dirSync } from "tmp-promise";
import { afterEach } from "vitest";

const made: { removeCallback(): void }[] = [];

export function temporaryDirectory(): string {
  const directory = dirSync({ prefix: "test-of-forkmap", unsafeCleanup: true });
  made.push(directory);
  return directory.name;
}

afterEach(() => {
  for (const directory of made.splice(0)) directory.removeCallback();
});
