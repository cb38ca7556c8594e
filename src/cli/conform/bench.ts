/**
 * The state that the checks of one program share: its processes, the scratch directory, and the results that later
 * checks need. `close` ends the processes and removes the directory.
 */
import { ProcessGroups } from "../../launch/process-groups.js";
import type { ProgramCommand } from "../../launch/program/program-process.js";
import { ScratchRoom } from "../../launch/scratch-room.js";
import { type Answered, ask, hasFailed, isAnswer, type Reply } from "./reply.js";
import { Talk, type TalkOptions } from "./talk.js";

export interface BenchOptions {
  readonly command: ProgramCommand;
  /** Sample items, at least one. */
  readonly items: readonly unknown[];
  /** For an answer, in ms. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  readonly onSaid?: TalkOptions["onSaid"];
  readonly onStderr?: TalkOptions["onStderr"];
}

/** An item that the program has answered, and its answer. */
export interface Known {
  readonly item: unknown;
  readonly reply: Answered;
}

export class Bench {
  readonly command: ProgramCommand;
  readonly items: readonly unknown[];
  readonly timeout: number;
  /** Why no further check can run; undefined if they can. */
  obstacle: string | undefined;
  /** How many lines the program prints when it starts. */
  banner = 0;
  /** The item that the program did not answer in time. */
  mute: { readonly item: unknown } | undefined;
  /** The kinds of mistakes with sample items, each with the first item that showed it. */
  readonly problems = new Map<string, { readonly item: unknown }>();
  /** The sample items that the program has answered. */
  readonly known: Known[] = [];
  readonly #options: BenchOptions;
  readonly #groups = new ProcessGroups();
  readonly #room = new ScratchRoom(undefined, this.#groups, { isCut: true });
  readonly #talks = new Set<Talk>();
  /** The process that checks share until something is wrong with it. */
  #current: Talk | undefined;
  #generation = 0;

  constructor(options: BenchOptions) {
    this.#options = options;
    this.command = options.command;
    this.items = options.items;
    this.timeout = options.timeout;
  }

  async open(): Promise<void> {
    await this.#room.open(true);
  }

  /** Starts a process for the caller alone, who closes it with `end`. */
  start(): Talk {
    const { command, signal, onSaid, onStderr } = this.#options;
    this.#generation += 1;
    const talk = new Talk({
      command,
      signal,
      onSaid,
      onStderr,
      directory: `${this.#room.directory}/program-${this.#generation}`,
      generation: this.#generation,
      groups: this.#groups,
      banner: this.banner,
      isBanner: (line) => !isAnswer(line),
    });
    this.#talks.add(talk);
    return talk;
  }

  async end(talk: Talk): Promise<void> {
    await talk.close();
    this.#talks.delete(talk);
  }

  /**
   * Sends a request to the shared process, which may have served earlier requests.
   *
   * @param fields - of the request, all but its id
   */
  async ask(fields: string): Promise<Reply> {
    const isUsed = this.#current?.isOpen === true;
    const talk = isUsed ? this.#current! : await this.#renewed();
    const reply = await ask(talk, fields, this.timeout);
    if (!hasFailed(reply) && reply.exit === undefined) return reply;
    await this.#leave();
    // A program may end between two items: a new process gets the request.
    return isUsed && hasFailed(reply) && reply.isUnread ? await this.ask(fields) : reply;
  }

  /** An item answered "ok" if there is one, else the first that was answered. */
  get best(): Known {
    return this.known.find(({ reply }) => reply.answer.status === "ok") ?? this.known[0]!;
  }

  /** Writes an item of any length to a file. @returns the path of the file */
  keep(item: unknown): string {
    const kept = this.#room.items.keep({ kind: "json", data: JSON.stringify(item) });
    if (!("file" in kept)) throw new Error("The item was not written to a file");
    return kept.file;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#talks].map((talk) => this.end(talk)));
    await this.#room.remove();
    await this.#groups.close();
  }

  async #renewed(): Promise<Talk> {
    await this.#leave();
    return (this.#current = this.start());
  }

  async #leave(): Promise<void> {
    const talk = this.#current;
    this.#current = undefined;
    if (talk) await this.end(talk);
  }
}
