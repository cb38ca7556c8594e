/** The description of a worker that another process receives, to find its class again and to fill in its fields. */
import type { ModuleState } from "./module-state.js";
import type { MadeWith } from "./used-variables.js";
import type { Frame } from "./worker.js";

export interface Unsendable {
  /** Why the field cannot travel. */
  readonly reason: string;
  /** Its value as text, for comparison (likeness.ts). */
  readonly likeness: string;
}

/** Where children find their supervisor. */
export interface Supervision {
  /** Holds the supervisor's socket, its token, and the files of metrics. */
  readonly directory: string;
  /** Tells children of different containers and pools apart that have the same num. */
  readonly run: string;
  /** Name of the worker whose pool they are in; undefined for instances of a service. */
  readonly pool: string | undefined;
}

/** Everything needed to recreate the worker in another process. */
export interface WorkerSource {
  /** Name of the class or function, for finding its export. */
  readonly name: string;
  /** Its source text: two may share a name. */
  readonly text: string;
  /** Names of the class's methods, which survive transpiling when `text` does not; undefined for a function. */
  readonly members?: readonly string[] | undefined;
  /** How many parameters it has (its `length`). */
  readonly parameters: number;
  readonly url: string;
  /** Whether the file contains `text` verbatim; false when a loader has transpiled it. */
  readonly verbatim: boolean;
  /** Whether it is a service, which a container runs; else a worker. */
  readonly isService: boolean;
  /** Whether the name is enough: the user named the module, or a service has been changed on disk since. */
  readonly explicit: boolean;
  /** The option `serialization`. */
  readonly serialization: "json" | "advanced";
  /** Whether the keys of results are sorted: those of a `JsonWorker`. */
  readonly sortsKeys: boolean;
  /** The function or block whose variables it uses; a bundler puts every module into one. */
  readonly maker?: string | undefined;
  /** Variables that can be compared, as text: one created by another call of the function may have other values. */
  readonly variables: MadeWith["variables"];
  /** Whether it also uses variables of the function that cannot be compared. */
  readonly hasMore: boolean;
  /** The same of blocks, which distinguish it only from twins. */
  readonly inBlocks: MadeWith;
  /** Whether others with the same text have been given to `Parallel`. */
  readonly hasTwins: boolean;
  /** All that it uses, if it is in the program's file: the program may have changed that after an earlier call. */
  readonly moduleState: ModuleState;
  /** Own fields, serialised by structured clone, base64. */
  readonly fields: string;
  /** Own fields that structured clone cannot carry. */
  readonly unsendable: Readonly<Record<string, Unsendable>>;
  /** `process.argv` of the parent: a program that runs again up to `new Parallel` may read it. */
  readonly argv: readonly string[];
  /** What user code in children sees as `process.execArgv`: the option `execArgv`, by default the parent's. */
  readonly execArgv: readonly string[];
  /** Given if a supervisor is to know the children. */
  readonly supervision: Supervision | undefined;
  /** Frames around the children. */
  readonly context: readonly Frame[];
}
