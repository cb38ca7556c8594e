/** The module that workerpool runs. */
import workerpool from "workerpool";
import { work } from "./work.mjs";

workerpool.worker({ run: (kind, item) => work[kind](item) });
