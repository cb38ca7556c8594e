/** The module that tinypool runs. */
import { work } from "./work.mjs";

export default ({ kind, item }) => work[kind](item);
