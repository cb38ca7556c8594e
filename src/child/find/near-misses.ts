/** What came near to the worker that was looked for, and the sentences that say why it was not found. */
import { DEFINE_AT_TOP } from "../../worker/class-origin.js";
import { isProgram, reached, rerunAdvice } from "../../worker/rerun.js";
import type { Definition } from "../../worker/function-worker.js";
import type { WorkerSource } from "../../worker/worker-source.js";

export interface Others {
  /** The one that is meant, where the program called `new Parallel` with another worker. */
  inScope?: Definition | undefined;
  /** Whether several exports could be meant. */
  isAmbiguous?: boolean;
  /** Whether the program called `new Parallel` with another worker. */
  isOffered?: boolean;
  /** A variable that differs, with its value there and here. */
  difference?: string | undefined;
  /** The same at a `new Parallel` with another worker. */
  change?: string | undefined;
}

export function notFound(source: WorkerSource, others: Others): string {
  const { name, url, maker, members } = source;
  const { difference, isOffered, isAmbiguous } = others;
  const kind = members === undefined ? "function" : "class";
  if (isAmbiguous) {
    return (
      `${url} exports more than one ${kind} ${name === "" ? "without a name" : `with the name ${name}`}, and nothing by which another ` +
      "process could tell them apart: give each a name of its own"
    );
  }
  if (maker !== undefined) {
    const seen = difference === undefined ? "" : ` (${difference})`;
    return (
      `${name || `The worker's ${kind}`} is defined inside ${maker} and uses its variables${seen}, which no other process has. ` +
      `${DEFINE_AT_TOP}. If it is at the top level and a bundler wrapped it in that function, export it, or make its ` +
      "Parallel at the top level too"
    );
  }
  const what = name === "" ? `The worker's ${kind} has no name and` : `The ${kind} ${name}`;
  return (
    `${what} is not exported by ${url}, and loading that file does not reach ${reached(source.isService)} with it${isOffered ? " (calls of another Parallel never settle there)" : ""}. ` +
    `Define the ${kind} at the top level of a module and export it, or name its module with the option \`module\`. ` +
    "(`import.meta.main` and `require.main === module` are false there.)"
  );
}

export function neverLoaded(source: WorkerSource, others: Others): string {
  const { url, argv, members } = source;
  const kind = members === undefined ? "function" : "class";
  if (!isProgram(url, argv)) {
    return (
      `${url} never finished loading: it awaits a promise that nothing is left to settle ` +
      `(calls of another Parallel never settle here). Move the ${kind} to a module of its own and export it`
    );
  }
  if (!others.isOffered) {
    return `${url} never finished loading: it awaits a promise that nothing is left to settle. ${rerunAdvice(source.isService)}`;
  }
  return (
    `The worker's ${[kind, source.name].join(" ").trim()} is used after the call of another Parallel, and ${whyNotThere(source, others)}. ` +
    "Another process runs the program again to find it, and gets no further than that call: define each worker of the file by a name of its " +
    "own at the top level, above the first call, or export it from a module of its own"
  );
}

function whyNotThere({ name }: WorkerSource, { change }: Others): string {
  if (change !== undefined) return `what it uses has changed by then: ${change}`;
  return name === ""
    ? "it has no name by which it could be found"
    : "it is not defined by its name before";
}
