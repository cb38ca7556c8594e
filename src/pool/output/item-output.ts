/** The output of one item: lines to print with its tag, or the tail that is kept. */
import type { OutputMode } from "../../options.js";
import type { OutputName } from "../../wire/output-mark.js";
import type { Printed, Task } from "../../wire/task.js";
import type { TaskOwner } from "../task-owner.js";
import { LineCutter } from "../../launch/line-cutter.js";
import { Tail } from "./tail.js";

/** How much is kept of each stream of an item with `collect`. */
const COLLECTED_BYTES = 1024 * 1024;
/** How much of stderr is kept for the error of a dead child: more than the stacks V8 prints when it aborts (3 KiB). */
const LAST_WORDS_BYTES = 8192;
const LAST_LINES = 3;
const LAST_WORDS_CHARACTERS = 1000;

export class ItemOutput {
  readonly #task: Task;
  readonly #owner: TaskOwner;
  readonly #mode: OutputMode;
  #lines: Partial<Record<OutputName, LineCutter>> | undefined;
  #tails: Partial<Record<OutputName, Tail>> | undefined;
  #prefix: Buffer | undefined;
  #isOver = false;

  constructor(task: Task, owner: TaskOwner, mode: OutputMode) {
    this.#task = task;
    this.#owner = owner;
    this.#mode = mode;
  }

  /** Adds output of the item; appends lines that are to be printed to `lines`. */
  push(name: OutputName, bytes: Buffer, lines: Buffer[]): void {
    if (this.#mode === "collect") {
      // Output after the end of the item is dropped: `over` has returned the rest already.
      if (!this.#isOver) this.#tail(name, COLLECTED_BYTES).push(bytes);
      return;
    }
    if (this.#mode === "tag") {
      this.#lines ??= {};
      (this.#lines[name] ??= new LineCutter()).push(bytes, this.#tag(), lines);
    }
    if (name === "stderr") this.#tail(name, LAST_WORDS_BYTES).push(bytes);
  }

  /** Appends the last line, if it has no newline, to `lines`. */
  end(name: OutputName, lines: Buffer[]): void {
    const cutter = this.#lines?.[name];
    if (cutter) cutter.end(this.#tag(), lines);
  }

  /** The item has ended: returns what it printed. */
  over(): Printed {
    this.#isOver = true;
    return this.#printed();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Getters, so that bytes are decoded only when they are needed. */
  #printed(): Printed {
    const { stdout, stderr } = this.#tails ?? {};
    const isCollected = this.#mode === "collect";
    return {
      get collected() {
        if (!isCollected) return undefined;
        return { stdout: stdout?.markedText() ?? "", stderr: stderr?.markedText() ?? "" };
      },
      get lastWords() {
        return stderr ? lastLines(stderr.text()) : "";
      },
    };
  }

  #tail(name: OutputName, bytes: number): Tail {
    this.#tails ??= {};
    return (this.#tails[name] ??= new Tail(bytes));
  }

  #tag(): Buffer {
    return (this.#prefix ??= Buffer.from(`${this.#name()}: `));
  }

  #name(): string {
    const task = this.#task;
    try {
      const { tag } = this.#owner.optionsOf(task);
      if (tag) return this.#owner.within(task, () => tag(task.item as never, task.index));
    } catch (error) {
      this.#owner.doomed(error as Error, task);
    }
    return String(task.index);
  }
}

function lastLines(text: string): string {
  const lines = text.slice(-LAST_WORDS_BYTES).split(/\r?\n|\r/);
  const said = lines.map((line) => line.trim()).filter((line) => line !== "");
  return worthTelling(said).join(" / ").slice(-LAST_WORDS_CHARACTERS);
}

/** Picks the useful lines. If V8 aborted, that is the reason, not the native stack that it prints after it. */
function worthTelling(lines: readonly string[]): readonly string[] {
  const fatal = lines.findLast((line) => line.startsWith("FATAL ERROR: "));
  if (fatal !== undefined) return [fatal];
  const native = lines.indexOf("----- Native stack trace -----");
  if (native === -1) return lines.slice(-LAST_LINES);
  if (native > 0) return lines.slice(Math.max(0, native - LAST_LINES), native);
  const script = lines.indexOf("----- JavaScript stack trace -----");
  return script === -1 ? [] : lines.slice(script + 1, script + 2);
}
