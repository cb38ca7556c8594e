/** What fixtures/remains.mjs finds that a program has left. */
export interface Remains {
  readonly descriptors: string[];
  readonly listeners: string[];
  readonly processes: string[];
  readonly scratch: string[];
}
