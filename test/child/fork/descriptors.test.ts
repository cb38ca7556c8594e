/** Every kind of descriptor that a worker's `preload` may leave open, and whether children can still be forked. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KINDS, Opens } from "../../fixtures/inherits/opens.mjs";
import { opened } from "../../support/opened.js";

/** Why children are spawned; `undefined` when they are forked. Addresses and paths that vary are replaced. */
const REASONS: Readonly<Record<string, string | undefined>> = {
  file: undefined,
  "read-only file": undefined,
  directory: undefined,
  O_PATH: undefined,
  "name space": undefined,
  "/dev/null": undefined,
  "/dev/urandom": undefined,
  "fs.watch": undefined,
  "deleted file": "the deleted or unnamed file FILE.gone is open",
  memfd: "the deleted or unnamed file /memfd:memory is open",
  "locked file": "FILE is locked",
  FIFO: "the FIFO FILE.fifo is open",
  pipe: "a pipe is open",
  "pseudo terminal": "the device /dev/ptmx is open",
  eventfd: "an eventfd is open",
  epoll: "an epoll instance is open",
  timerfd: "a timerfd is open",
  signalfd: "a signalfd is open",
  inotify: "an inotify instance is open",
  pidfd: "a pidfd is open",
  "TCP server": "a server listens on 127.0.0.1:PORT",
  "TCP connection": "a TCP connection to 127.0.0.1:PORT is open",
  UDP: "a UDP socket at 127.0.0.1:PORT is open",
  "Unix server": "a server listens on the Unix socket FILE.sock",
  "Unix pair": "a Unix socket is open",
  "Unix datagrams": "a Unix socket is open",
  "unconnected socket": "a socket is open",
  netlink: "a socket is open",
};

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "descriptors-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test("every kind has an expectation", () => {
  expect(Object.keys(KINDS)).toEqual(Object.keys(REASONS));
});

describe.each(Object.keys(KINDS))("%s", (kind) => {
  test("is shared with forked children only when sharing is harmless", async () => {
    const file = path.join(directory, "file");
    const parallel = opened(Object.assign(new Opens(), { kind, file }));
    await parallel.ready();
    const { startMethod, reason } = parallel.stats();
    const [what, advice, ...rest] = (reason ?? "").replaceAll(file, "FILE").split("; ");
    const expected = REASONS[kind];
    expect(what!.replace(/:\d+/, ":PORT")).toBe(
      expected === undefined
        ? ""
        : `${expected} (since \`preload\`) and forked children would share it`,
    );
    if (expected !== undefined) expect(advice).toMatch(/^open it in `setup`( \(and \d more\))?$/);
    expect(rest).toEqual([]);
    expect(startMethod).toBe(expected === undefined ? "fork" : "spawn");
  });
});
