/** The names of the keys that forkmap keeps beside BullMQ's own in Redis. All begin with the prefix and the name of their queue. */

export class Keys {
  readonly #base: string;

  /** @param prefix - that of BullMQ's keys */
  constructor(prefix: string, queue: string) {
    this.#base = `${prefix}:${queue}`;
  }

  /** BullMQ's record of a job, a hash. */
  job(id: string): string {
    return `${this.#base}:${id}`;
  }

  /** Sorted set of the machines that serve the queue: JSON by the time at which each is given up, in ms of the server's clock. */
  get machines(): string {
    return `${this.#base}:forkmap:machines`;
  }

  /** Channel on which callers tell machines what to abort. */
  get aborts(): string {
    return `${this.#base}:forkmap:aborts`;
  }

  /** Stream that receives the reports of a program's calls, or of one named run. */
  reports(name: string): string {
    return `${this.#base}:forkmap:reports:${name}`;
  }

  /** Hash of the batches of a named run: job id to the items that are in it. */
  batches(run: string): string {
    return `${this.#base}:forkmap:batches:${run}`;
  }

  /** Who continues a named run at present. */
  lease(run: string): string {
    return `${this.#base}:forkmap:lease:${run}`;
  }
}

/** A message on the channel `aborts`, as JSON. */
export interface AbortMessage {
  /** Id of the job. */
  readonly job: string;
  /** Places of the items in it; all if missing. */
  readonly places?: readonly number[] | undefined;
}

/** A member of the set `machines`, as JSON. */
export interface MachineRecord {
  readonly id: string;
  readonly name: string;
  readonly workers: readonly string[];
  readonly slots: number;
}

/** The fields of an entry of the stream `reports`; `report` is missing where a caller's abort was obeyed, or the stream began. */
export interface ReportFields {
  readonly job?: string;
  readonly report?: string;
}
