/**
 * Start method `command`: each child is a program of the user, in any language, that receives items and answers them as
 * lines. The folder holds the check that the program exists, its process, its requests, and how its answers and result
 * files are read.
 */
import { stringify } from "../../system/json.js";
import { processorCount } from "../../system/processor-count.js";
import type { ItemStore } from "../../wire/items.js";
import type { Ledger } from "../../wire/ledger.js";
import type { LedgerShape, StartRequest } from "../../wire/protocol.js";
import type { Child, ChildEvents, Launcher, Room, RoomOptions } from "../launcher.js";
import { ProcessGroups } from "../process-groups.js";
import { ScratchRoom } from "../scratch-room.js";
import { ProgramLedger } from "./program-ledger.js";
import { Program, type ProgramSettings } from "./program.js";

/** Longer items are passed in files, which a program need not support if all its items are shorter. */
const LONGEST_LINE = 64 * 1024;

export class CommandLauncher implements Launcher {
  readonly startMethod = "command";
  readonly defaultConcurrency = processorCount();
  readonly #settings: ProgramSettings;
  readonly #groups = new ProcessGroups();

  constructor(settings: ProgramSettings) {
    this.#settings = settings;
  }

  get pids(): readonly number[] {
    return this.#groups.pids;
  }

  async ready(): Promise<void> {}

  async makeRoom({ scratchRoot, shape }: RoomOptions): Promise<Room> {
    const scratch = new ScratchRoom(scratchRoot, this.#groups, { isCut: true });
    await scratch.open(true);
    return new CommandRoom(scratch, shape, this.#settings, this.#groups);
  }

  async close(): Promise<void> {
    await this.#groups.close();
  }
}

class CommandRoom implements Room {
  readonly readsStderr = true;
  /** stdin, stdout and stderr. */
  readonly descriptors = 3;
  readonly keepsItems = true;
  readonly items: ItemStore;
  readonly #scratch: ScratchRoom;
  readonly #shape: LedgerShape;
  readonly #settings: ProgramSettings;
  readonly #groups: ProcessGroups;
  /** By slot. */
  readonly #ledgers = new Map<number, ProgramLedger>();

  constructor(
    scratch: ScratchRoom,
    shape: LedgerShape,
    settings: ProgramSettings,
    groups: ProcessGroups,
  ) {
    this.#scratch = scratch;
    this.#shape = shape;
    this.#settings = settings;
    this.#groups = groups;
    const { items } = scratch;
    this.items = {
      longerThan: LONGEST_LINE,
      keepsShortBytes: true,
      // The file holds the JSON that the line would have held, or bytes as they are.
      keep: ({ kind, data }) =>
        items.keep(kind === "text" ? { kind: "json", data: stringify(data) } : { kind, data }),
      release: (item) => items.release(item),
    };
  }

  get directory(): string {
    return this.#scratch.directory;
  }

  ledger(num: number): Ledger {
    const ledger = new ProgramLedger(this.#shape.times);
    this.#ledgers.set(num, ledger);
    return ledger;
  }

  start(request: StartRequest, events: ChildEvents): Child {
    const ledger = this.#ledgers.get(request.start.num)!;
    const program = new Program(request, this.#settings, ledger, {
      ...events,
      onEnd: (end) => {
        if (pid !== undefined) this.#groups.forget(pid);
        events.onEnd(end);
      },
    });
    const { pid } = program;
    if (pid !== undefined) this.#groups.watch(pid);
    return program;
  }

  remove(): Promise<void> {
    return this.#scratch.remove();
  }
}
