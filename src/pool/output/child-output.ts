/**
 * The folder holds what becomes of what children print. Here: the output of one child, divided by item. It is printed in
 * whole tagged lines (`tag`), kept until the item ends (`collect`), or passed on unchanged (`inherit`). Bytes before the
 * first mark belong to the child's first item, as `setup` does. Bytes between the end of an item and the start of the next
 * get the ended item's tag, or are dropped with `collect`.
 */
import type { OutputMode } from "../../options.js";
import { MarkSplitter, type OutputName } from "../../wire/output-mark.js";
import type { Printed, Task } from "../../wire/task.js";
import type { TaskOwner } from "../task-owner.js";
import { ItemOutput } from "./item-output.js";
import { isBackedUp, onceDrained, print } from "../../launch/printer.js";

/** The interface of a child that its output uses. */
export interface OutputSource {
  /** Returns the item with this number in the child, unless it has ended. */
  find(seq: number): { readonly task: Task; readonly owner: TaskOwner } | undefined;
  /** Stops (`true`) or resumes reading the child's output: back pressure. */
  hold(isHeld: boolean): void;
}

interface Stream {
  readonly name: OutputName;
  readonly splitter: MarkSplitter;
  /** The item to which the next bytes belong. */
  current: ItemOutput | undefined;
}

export class ChildOutput {
  readonly #mode: OutputMode;
  readonly #source: OutputSource;
  readonly #items = new Map<number, ItemOutput>();
  readonly #streams: Readonly<Record<OutputName, Stream>>;
  /** Lines to print once the received bytes have been split. */
  readonly #lines: Buffer[] = [];
  readonly #nothing: Printed;
  #isHeld = false;

  constructor(mode: OutputMode, mark: string, source: OutputSource) {
    this.#mode = mode;
    this.#source = source;
    const collected = mode === "collect" ? { stdout: "", stderr: "" } : undefined;
    this.#nothing = { collected, lastWords: "" };
    this.#streams = { stdout: this.#stream("stdout", mark), stderr: this.#stream("stderr", mark) };
  }

  /** @param bytes - only valid during the call */
  push(name: OutputName, bytes: Buffer): void {
    this.#streams[name].splitter.push(bytes);
    this.#print(name);
    if (this.#mode === "collect" || this.#isHeld || !isBackedUp()) return;
    this.#isHeld = true;
    this.#source.hold(true);
    onceDrained(() => {
      this.#isHeld = false;
      this.#source.hold(false);
    });
  }

  /** Removes an ended item and returns what it printed; all of its output must have been pushed. */
  take(seq: number): Printed {
    const item = this.#item(seq);
    if (!item && this.#mode === "inherit") return this.#nothing;
    for (const { name } of Object.values(this.#streams)) {
      item?.end(name, this.#lines);
      this.#print(name);
    }
    this.#items.delete(seq);
    return item?.over() ?? this.#nothing;
  }

  /** The child has ended: prints what is left. */
  end(): void {
    for (const stream of Object.values(this.#streams)) {
      stream.splitter.end();
      stream.current?.end(stream.name, this.#lines);
      this.#print(stream.name);
    }
    this.#items.clear();
  }

  #stream(name: OutputName, mark: string): Stream {
    const splitter = new MarkSplitter(mark, {
      mark: (seq) => this.#turnTo(name, seq),
      bytes: (piece) => {
        const stream = this.#streams[name];
        if (this.#mode === "inherit") this.#lines.push(piece);
        stream.current ??= this.#item(0);
        stream.current?.push(name, piece, this.#lines);
      },
    });
    return { name, splitter, current: undefined };
  }

  #turnTo(name: OutputName, seq: number): void {
    const stream = this.#streams[name];
    const next = this.#item(seq);
    // `take` was called already, so nothing else would end this item's last line.
    if (stream.current?.isOver) stream.current.end(name, this.#lines);
    if (next) stream.current = next;
  }

  #item(seq: number): ItemOutput | undefined {
    const known = this.#items.get(seq);
    if (known) return known;
    const found = this.#source.find(seq);
    if (!found) return undefined;
    const item = new ItemOutput(found.task, found.owner, this.#mode);
    this.#items.set(seq, item);
    return item;
  }

  #print(name: OutputName): void {
    if (this.#lines.length > 0) print(name, this.#lines.splice(0));
  }
}
