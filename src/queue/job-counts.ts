/** What has become of jobs and items, since a queue worker was made. */

/** Jobs of a `QueueWorker`, over all its runs. */
export interface JobCounts {
  /** Under way now. */
  readonly active: number;
  /** Run to their end. Of a call of `Parallel` also those with items that failed. */
  readonly succeeded: number;
  readonly failed: number;
  /** Given back: put off by a rate limit, or not wanted any more, as they were aborted or this machine was killed. */
  readonly returned: number;
  /** Run here, and not acknowledged, as another machine has them or they are gone. */
  readonly refused: number;
  /** Given to another machine while they ran here, as this process stood still. */
  readonly lost: number;
}

/** Items of jobs; one that was added by other code is one. */
export interface ItemCounts {
  readonly succeeded: number;
  readonly failed: number;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

export class Counts {
  readonly jobs: Writable<JobCounts> = {
    active: 0,
    succeeded: 0,
    failed: 0,
    returned: 0,
    refused: 0,
    lost: 0,
  };
  readonly items: Writable<ItemCounts> = { succeeded: 0, failed: 0 };
}
