/** Creates the launcher of the threads of a `Parallel` when it is first needed; there is only one kind. */
import { ClosedError } from "../../errors.js";
import { DEFAULT_STARTUP_TIMEOUT_MS, type ParallelOptions } from "../../options.js";
import { assertAllowed } from "../../system/permission.js";
import { locateWorker } from "../../worker/locate-worker.js";
import { entryFile } from "../entry-file.js";
import type { Launcher, LaunchChoice, ServiceOptions } from "../launcher.js";
import { assertRuns } from "../runtime.js";

type LaunchOptions = Pick<
  ParallelOptions,
  "module" | "execArgv" | "env" | "startupTimeout" | "serialization"
> &
  Pick<ServiceOptions, "isService">;

export class ThreadChoice implements LaunchChoice {
  readonly reason = undefined;
  readonly #worker: object;
  readonly #options: LaunchOptions;
  #current: Launcher | undefined;
  #isClosed = false;

  constructor(worker: object, options: LaunchOptions) {
    this.#worker = worker;
    this.#options = options;
  }

  get current(): Launcher | undefined {
    return this.#current;
  }

  async ready(): Promise<Launcher> {
    entryFile("thread-child");
    const { module, execArgv, env, startupTimeout, serialization, isService } = this.#options;
    assertRuns("thread", module);
    assertAllowed("worker", "starting threads");
    const { ThreadLauncher } = await import("./thread-launcher.js");
    if (this.#isClosed) throw new ClosedError();
    const locate = () =>
      locateWorker(this.#worker, module, execArgv ?? process.execArgv, serialization, isService);
    this.#current ??= new ThreadLauncher(locate, {
      execArgv,
      env: definedOnly(env ?? process.env),
      startupTimeout: startupTimeout ?? DEFAULT_STARTUP_TIMEOUT_MS,
    });
    await this.#current.ready();
    return this.#current;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#current?.close();
  }
}

/** A thread would get an undefined variable as the text "undefined". */
function definedOnly(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined));
}
