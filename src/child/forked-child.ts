/**
 * The first moments of a forked child, and its last: makes a process of its own out of a copy of the fork server, runs
 * the item, leaves its last word on the board and ends without Node's teardown.
 */
import { writeFileSync, writeSync } from "node:fs";
import { inspect } from "node:util";
import { recordError, shortRecord } from "../error-record.js";
import {
  CHANNEL_FD,
  type LastWord,
  type Payload,
  type Request,
  type WorkerSource,
} from "../protocol.js";
import { type Board, WORD_BYTES } from "./board.js";
import { type Libc, SIGKILL } from "./libc.js";
import { applyLimits } from "./limits.js";
import { renewRandom } from "./renew.js";
import { type LoadedWorker, runItem, type Surroundings } from "./run-item.js";
import { atEnd, type Ending } from "./watch-exit.js";

const { _tickCallback: drainMicrotasks } = process;

export class ForkedChild {
  readonly #libc: Libc;
  readonly #board: Board;
  readonly #worker: LoadedWorker;
  readonly #around: Surroundings;
  readonly #serverPid = process.pid;
  #cell = -1;
  #payload: Payload | undefined;

  constructor(libc: Libc, board: Board, worker: LoadedWorker, { name, context }: WorkerSource) {
    this.#libc = libc;
    this.#board = board;
    this.#worker = worker;
    this.#around = { kind: "fork", name: name || "worker", context };
  }

  /** Runs the item. Comes back when that needs the event loop; whatever ends first calls `_exit`. */
  begin({ payload }: Request, cell: number, siblings: readonly number[]): void {
    const libc = this.#libc;
    libc.dieWithParent(SIGKILL);
    if (libc.getppid() !== this.#serverPid) libc.exit(0);
    libc.setpgid(0, 0);
    libc.close(CHANNEL_FD);
    for (const pidfd of siblings) libc.close(pidfd);
    this.#cell = cell;
    this.#payload = payload;

    const pid = libc.getpid();
    Object.defineProperty(process, "pid", { value: pid, enumerable: true, configurable: true });
    process.title = `forkmap ${this.#around.name} num ${payload.num} item ${payload.index}`;
    atEnd((ending, code) => this.#end(ending, code));
    process.reallyExit = (code) => this.#end({ how: "exit" }, code ?? 0);
    renewRandom();
    if (payload.limits) applyLimits(libc, payload.limits);
    // Before any of the user's code: work it gives to the thread pool must wake this loop, not the fork server's.
    libc.reviveLoop();
    this.#board.begin(cell);

    void runItem(this.#worker, payload, this.#around).then((word) => {
      this.#say(word);
      // Without a listener all that emits would only cost pages to copy.
      if (process.listenerCount("exit") > 0) process.emit("exit", 0);
      else libc.exit(Number(process.exitCode ?? 0));
    });
    // Most items are done here, without a turn of the event loop.
    drainMicrotasks();
  }

  #end(ending: Ending, code: number): never {
    if (ending.how === "uncaught") {
      this.#say({ status: "exited", how: "uncaught", error: recordError(ending.error) });
      // What Node itself would print, had it got that far.
      tryTo(() => writeSync(2, `Uncaught ${inspect(ending.error)}\n`));
    } else {
      this.#say({ status: "exited", how: ending.how });
    }
    return this.#libc.exit(code);
  }

  /** The first word stands: an item that is done is done, whatever its exit listeners do. */
  #say(word: LastWord): void {
    if (this.#board.say(this.#cell, word)) return;
    const file = this.#payload!.wordFile;
    const kept = tryTo(() =>
      writeFileSync(file, JSON.stringify(word), { flag: "wx", mode: 0o600 }),
    );
    if (kept) this.#board.say(this.#cell, { status: "elsewhere", file });
    else if ("error" in word)
      this.#board.say(this.#cell, { ...word, error: shortRecord(word.error, WORD_BYTES) });
  }
}

function tryTo(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
