/** Random numbers that are the same in every run, for tests and for the programs that tests run. */
export { seeded } from "../fixtures/seeded.mjs";
