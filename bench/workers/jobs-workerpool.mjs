/** The module that workerpool runs. */
import workerpool from "workerpool";
import * as jobs from "./jobs.mjs";

workerpool.worker({ ...jobs });
