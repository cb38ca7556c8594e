/**
 * The thread that V8 has for work in the background, in the fork server. A fork copies locks as they are, and not who holds
 * them: a child made while this thread has that of its queue waits for it for ever, once it collects its garbage.
 *
 * V8 is told to use no such thread, but on Node 26 it wakes it for every collection of young objects all the same (by
 * `DefaultJobState::NotifyConcurrencyIncrease`; 3,500 times in as many collections). Of 50,000 to 80,000 children there, one hung.
 */
import { openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { monotonic } from "../monotonic.js";
import type { Libc } from "./libc.js";

/** As Node calls it: `V8Worker` on 24, `node-V8Worker` on 26. Before, it has no name, and is left alone. */
const NAME = /V8Worker/;
/** Thread id, name and state of /proc/self/task/<tid>/stat. */
const HEAD_BYTES = 64;
const SLEEPING = "S".charCodeAt(0);
const NAME_END = ")".charCodeAt(0);
const CHECK_US = 50;
/** What it does is done in less than a ms, unless it gets no processor. Better a fork too early then than none. */
const PATIENCE_MS = 1000;

export class V8Thread {
  /** One at most. Open all the time: opened for each look, that would take 9 µs in place of 4. */
  readonly fds: readonly number[];
  readonly #libc: Libc;
  readonly #head = Buffer.alloc(HEAD_BYTES);

  constructor(libc: Libc) {
    this.#libc = libc;
    const fd = openStat();
    this.fds = fd === undefined ? [] : [fd];
  }

  /** Asleep it holds no lock: it waits for work, and lets go of its queue for that. */
  waitUntilIdle(): void {
    if (this.#isIdle()) return;
    const start = monotonic();
    do this.#libc.sleep(CHECK_US);
    while (!this.#isIdle() && monotonic() - start < PATIENCE_MS);
  }

  #isIdle(): boolean {
    const [fd] = this.fds;
    if (fd === undefined) return true;
    readSync(fd, this.#head, 0, HEAD_BYTES, 0);
    return this.#head[this.#head.lastIndexOf(NAME_END) + 2] === SLEEPING;
  }
}

/** `undefined` where there is no such thread, or no descriptor to be had. */
function openStat(): number | undefined {
  const tasks = "/proc/self/task";
  try {
    const tid = readdirSync(tasks).find((task) =>
      NAME.test(readFileSync(`${tasks}/${task}/comm`, "latin1")),
    );
    return tid === undefined ? undefined : openSync(`${tasks}/${tid}/stat`, "r");
  } catch {
    return undefined;
  }
}
