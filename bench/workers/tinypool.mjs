/** What tinypool runs. */
import { work } from "./work.mjs";

export default ({ kind, item }) => work[kind](item);
