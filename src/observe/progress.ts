/**
 * The progress of a call, on stderr: on a terminal one line that is redrawn, elsewhere a plain line every few seconds.
 * Only counts are kept between two updates; nothing here keeps the program alive or listens to a signal.
 */
import { Console } from "node:console";
import type { WriteStream } from "node:tty";
import type { Ora } from "ora";
import { monotonic } from "../system/monotonic.js";
import { clearInterval, setInterval } from "../system/timers.js";

export class Progress {
  /** The one instance that draws on the terminal: two would overwrite each other. */
  static #drawn: Progress | undefined;

  /** How many items there are, once known. */
  total: number | undefined;
  readonly #title: string;
  readonly #stream: WriteStream;
  readonly #rate = new Rate();
  #failed = 0;
  #done = 0;
  #timer: NodeJS.Timeout | undefined;
  #line: Ora | undefined;
  #ended = false;
  readonly #onExit = () => this.clear();

  /** @param title - printed before the counts; `""` for none */
  constructor(title: string, total: number | undefined, stream: WriteStream = process.stderr) {
    this.#title = title.replaceAll(/\p{Cc}+/gu, " ");
    this.total = total;
    this.#stream = stream;
    if (stream.isTTY && !Progress.#drawn) {
      Progress.#drawn = this;
      void this.#draw();
    } else this.#print();
  }

  /** Counts items that have ended. */
  add(succeeded: number, failed: number): void {
    this.#done += succeeded + failed;
    this.#failed += failed;
  }

  /** Clears the line until it is next drawn, so that something else can be written to the terminal. */
  clear(): void {
    this.#line?.clear();
  }

  /** Stops the updates and prints the final counts. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    this.clear();
    process.removeListener("exit", this.#onExit);
    if (Progress.#drawn === this) Progress.#drawn = undefined;
    this.#printLine(`in ${duration(this.#rate.elapsed)}`, this.#rate.overall(this.#done));
  }

  async #draw(): Promise<void> {
    // If it is not installed (it is an optional dependency), plain lines are printed.
    const ora = await import("ora").then(
      (module) => module.default,
      () => undefined,
    );
    if (this.#ended) return;
    const color = this.#stream.hasColors();
    const line = ora?.({
      stream: this.#stream,
      color: color ? "cyan" : false,
      // A hidden cursor would have to be shown again on every exit, also by a signal, and signals belong to the user.
      hideCursor: false,
      discardStdin: false,
    });
    // ora is disabled on a terminal without cursor movement, and in CI that only pretends to have a terminal.
    if (!line?.isEnabled) {
      Progress.#drawn = undefined;
      this.#print();
      return;
    }
    this.#line = line;
    process.once("exit", this.#onExit);
    // ora's own timer would keep the program alive, so this timer draws the line.
    this.#timer = setInterval(() => {
      line.text = `${this.#fitted((this.#stream.columns || COLUMNS) - AROUND, color)}  `;
      line.render();
    }, DRAW_INTERVAL_MS).unref();
  }

  #print(): void {
    this.#timer = setInterval(() => {
      const rate = this.#rate.now(this.#done);
      const left = this.#left(rate);
      this.#printLine(left && `about ${left}`, rate);
    }, PRINT_INTERVAL_MS).unref();
  }

  #printLine(time: string | undefined, rate: number): void {
    Progress.#drawn?.clear();
    const { total } = this;
    const items = (total ?? this.#done) === 1 ? "item" : "items";
    const count =
      total === undefined
        ? `${this.#done} ${items}`
        : `${this.#done} of ${total} ${items} (${this.#percentage(total)}%)`;
    const facts = [count, this.#failures(), perTime(rate), time].filter(Boolean).join(", ");
    // Unlike the stream itself, a Console ignores a reader that is gone.
    new Console({ stdout: this.#stream, stderr: this.#stream }).error(
      "%s",
      this.#title === "" ? facts : `${this.#title}: ${facts}`,
    );
  }

  /** Returns as much as fits into `columns`: a line that wraps cannot be redrawn. */
  #fitted(columns: number, color: boolean): string {
    const { total } = this;
    const rate = this.#rate.now(this.#done);
    const failures = this.#failures();
    const count =
      total === undefined
        ? `${this.#done} items`
        : `${this.#done} of ${total} (${this.#percentage(total)}%)`;
    const all = [count, failures, this.#left(rate), perTime(rate)].filter(
      (each) => each !== undefined,
    );
    // The last facts are dropped first, the count never.
    const room = columns - widthOf(this.#title) - 1;
    while (all.length > 1 && all.join(", ").length > Math.max(room, columns / 2)) all.pop();
    const facts = all.join(", ").slice(0, columns);
    const title = cut(this.#title, columns - facts.length - 1);
    const bar = total === undefined ? "" : barOf(this.#done / total, room - facts.length - 1);
    const line = [title, bar, facts].filter(Boolean).join(" ");
    return color && failures ? line.replace(failures, `${RED}${failures}${DEFAULT_COLOR}`) : line;
  }

  #failures(): string | undefined {
    return this.#failed === 0 ? undefined : `${this.#failed} failed`;
  }

  /** Rounded down: 100 only when every item is done. */
  #percentage(total: number): number {
    return total === 0 ? 100 : Math.floor((this.#done / total) * 100);
  }

  #left(rate: number): string | undefined {
    if (this.total === undefined || rate === 0 || this.#done >= this.total) return undefined;
    return `${duration(((this.total - this.#done) / rate) * 1000)} left`;
  }
}

/** Items a second: over the last seconds, or since the start if too few items ended in that time. */
class Rate {
  readonly #startedAt = monotonic();
  readonly #samples: { readonly time: number; readonly done: number }[] = [];

  get elapsed(): number {
    return monotonic() - this.#startedAt;
  }

  overall(done: number): number {
    return (done / Math.max(1, this.elapsed)) * 1000;
  }

  now(done: number): number {
    const time = monotonic();
    const newest = this.#samples.at(-1);
    if (!newest || time - newest.time >= SAMPLE_INTERVAL_MS) this.#samples.push({ time, done });
    while (time - this.#samples[0]!.time > RATE_WINDOW_MS) this.#samples.shift();
    const oldest = this.#samples[0]!;
    const more = done - oldest.done;
    if (more < ENOUGH_ITEMS) return this.overall(done);
    return (more / Math.max(1, time - oldest.time)) * 1000;
  }
}

const DRAW_INTERVAL_MS = 100;
const PRINT_INTERVAL_MS = 5000;
const SAMPLE_INTERVAL_MS = 500;
/** The time of three plain lines: the rate over one interval varies too much. */
const RATE_WINDOW_MS = 15_000;
const ENOUGH_ITEMS = 10;

/** The width if the terminal does not report one. */
const COLUMNS = 80;
/**
 * Columns around the line: before it the spinner and a space; after it two spaces, which separate it from what a child
 * writes there, and a free column, because some terminals wrap when the last column is written.
 */
const AROUND = 5;
const BAR_WIDTH = 30;
const LEAST_BAR_WIDTH = 8;
const RED = "\u001B[31m";
const DEFAULT_COLOR = "\u001B[39m";

/** The bar is plain ASCII, which has the same width everywhere. */
function barOf(share: number, room: number): string {
  const width = Math.min(BAR_WIDTH, room - 2);
  if (width < LEAST_BAR_WIDTH) return "";
  const full = Math.max(0, Math.min(width, Math.round(share * width)));
  return `[${"=".repeat(full)}${" ".repeat(width - full)}]`;
}

/** An upper bound: a character that may be two columns wide counts as two. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += character.codePointAt(0)! < 0x300 ? 1 : 2;
  return width;
}

function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  const characters = Array.from(text);
  while (characters.length > 0 && widthOf(characters.join("")) > columns - 3) characters.pop();
  return characters.length === 0 ? "" : `${characters.join("")}...`;
}

function perTime(rate: number): string | undefined {
  if (rate === 0) return undefined;
  if (rate >= 10) return `${Math.round(rate)}/s`;
  if (rate >= 1) return `${rate.toFixed(1)}/s`;
  return rate >= 1 / 60 ? `${(rate * 60).toFixed(1)}/min` : `${(rate * 3600).toFixed(1)}/h`;
}

function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24
    ? `${hours} h ${minutes % 60} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
